"""Links, anchors and headings in the raw HTML of a Markdown document."""

from html.parser import HTMLParser

from msgspec import Struct

_LINKS = {"a": "href", "area": "href", "img": "src", "source": "src", "video": "src", "audio": "src"}
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})


class Html(Struct, frozen=True):
    """`links` are (line from 0, target)."""

    links: tuple[tuple[int, str], ...]
    anchors: tuple[str, ...]
    headings: tuple[str, ...]


def read_html(text: str) -> Html:
    """What a piece of HTML holds; comments hold nothing, an unfinished tag nothing."""
    tags = _Tags()
    tags.feed(text)
    tags.close()
    return Html(tuple(tags.links), tuple(tags.anchors), tuple(tags.headings))


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[tuple[int, str]] = []
        self.anchors: list[str] = []
        self.headings: list[str] = []
        self._heading: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        target = given.get(_LINKS.get(tag, ""))
        if target is not None:
            self.links.append((self.getpos()[0] - 1, target.strip()))
        self.anchors.extend(filter(None, (given.get("id"), given.get("name") if tag == "a" else None)))
        if tag in _HEADINGS:
            self._heading = []

    def handle_data(self, data: str) -> None:
        if self._heading is not None:
            self._heading.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in _HEADINGS and self._heading is not None:
            self.headings.append("".join(self._heading))
            self._heading = None
