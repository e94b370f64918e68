"""What one Markdown document offers (anchors) and asks for (links), read as GitHub reads it.

Fences, code spans and comments hold no links, because a real parser tells them apart. Raw HTML counts: GitHub renders
`<a href>`, `<img src>`, `<a id>` and `<h2>`.
"""

from importlib.metadata import version

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.gfm import gfm_plugin
from msgspec import Struct

from examples.docs_consistency.checks.html import read_html
from examples.docs_consistency.checks.slugs import Slugs, slug_of

# An outline kept under another rule is made anew: count up when this file, slugs.py or html.py finds something else.
RULE = f"1:{version('markdown-it-py')}:{version('mdit-py-plugins')}"


class Link(Struct, frozen=True, array_like=True):
    """`target` is as written. `line` counts from 1."""

    line: int
    target: str


class Outline(Struct, frozen=True, array_like=True):
    links: tuple[Link, ...]
    anchors: tuple[str, ...]


class _GitHub(MarkdownIt):
    def normalizeLink(self, url: str) -> str:  # noqa: N802 - the parser's name
        """Targets stay as written: they are shown to people who look for them in the source."""
        return url


_parser = _GitHub("commonmark").use(gfm_plugin, front_matter=True)


def outline_of(content: bytes) -> Outline:
    """The outline of a document; bytes that are no UTF-8 are replaced, not refused."""
    text = content.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    return _Reader(text.split("\n")).read(_parser.parse(text))


class _Reader:
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._slugs = Slugs()
        self._links: list[Link] = []
        self._anchors: list[str] = []

    def read(self, tokens: list[Token]) -> Outline:
        for place, token in enumerate(tokens):
            if token.type == "inline":
                self._inline(token)
                if tokens[place - 1].type == "heading_open":
                    self._anchors.append(self._slugs.next(_heading_text(token)))
            elif token.type == "html_block":
                self._html(token.content, _first_line(token))
        return Outline(tuple(self._links), tuple(self._anchors))

    def _inline(self, block: Token) -> None:
        line, last = _first_line(block), _last_line(block)
        for token in block.children or ():
            match token.type:
                case "softbreak" | "hardbreak":
                    line += 1
                case "link_open":
                    self._link(str(token.attrs["href"]), line, last)
                case "image":
                    self._link(str(token.attrs["src"]), line, last)
                case "html_inline":
                    self._html(token.content, line)
                    line += token.content.count("\n")

    def _link(self, target: str, line: int, last: int) -> None:
        # The parser tells the lines of a paragraph, not of a link; a code span before it may hide line breaks.
        written = (n for n in range(line, last + 1) if target and target in self._lines[n - 1])
        self._links.append(Link(next(written, line), target))

    def _html(self, text: str, line: int) -> None:
        found = read_html(text)
        self._links.extend(Link(line + offset, target) for offset, target in found.links)
        self._anchors.extend(found.anchors)
        for heading in found.headings:
            self._anchors.append(self._slugs.next(heading))
            # White space around the text of a raw heading: renderers differ, either is right.
            self._anchors.append(slug_of(heading.strip()))


def _first_line(token: Token) -> int:
    return token.map[0] + 1 if token.map else 1


def _last_line(token: Token) -> int:
    return token.map[1] if token.map else 1


def _heading_text(inline: Token) -> str:
    """The text that a browser shows, so no alternative text of images. A line break is one character, not a space."""
    shown = {"text", "code_inline"}
    return "".join(
        "\n" if token.type == "softbreak" else token.content
        for token in inline.children or ()
        if token.type in shown or token.type == "softbreak"
    )
