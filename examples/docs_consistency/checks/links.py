"""Broken relative links and anchors: every link of every document, judged against all files of the checkout."""

import re
from collections.abc import Iterator, Mapping

from msgspec import Struct

from examples.docs_consistency.checks.outline import Link, Outline
from examples.docs_consistency.checks.result import Checked, Finding
from examples.docs_consistency.checks.suggest import Suggestions, nearest
from examples.docs_consistency.checks.targets import External, Inside, Leaves, target_of
from examples.docs_consistency.paths import path_text, raw_path
from examples.docs_consistency.source import FileState

_MARKDOWN = (".md", ".markdown", ".mdown", ".mkd", ".mkdn")
_SUBMODULE = "160000"
_LINES = re.compile(r"L\d+(C\d+)?(-L\d+(C\d+)?)?")
_READMES = (b"README.md", b"readme.md", b"Readme.md", b"README.markdown")


def is_markdown(path: str, state: FileState) -> bool:
    """Whether a file is a document that is parsed: Markdown by its name, and no link to another file."""
    return path.lower().endswith(_MARKDOWN) and state.mode.startswith("100")


def check_links(outlines: Mapping[str, Outline], files: Mapping[str, FileState], part: str = "") -> Checked:
    """Judges the links of all documents beneath `part` (`docs/`; empty: of all). `outlines` are those of all Markdown
    files, by path."""
    tree = _tree(outlines, files)
    findings: list[Finding] = []
    documents = links = external = 0
    for path in sorted(path for path in outlines if path.startswith(part)):
        documents += 1
        for link in outlines[path].links:
            links += 1
            target = target_of(link.target, raw_path(path))
            if isinstance(target, External) or (isinstance(target, Inside) and tree.in_submodule(target.path)):
                external += 1
            elif (finding := _judge(path, link, target, tree)) is not None:
                findings.append(finding)
    findings.sort(key=lambda finding: (finding.path, finding.line))
    return Checked(tuple(findings), documents, links, external)


class _Tree(Struct, frozen=True):
    files: frozenset[bytes]
    folders: frozenset[bytes]
    submodules: frozenset[bytes]
    anchors: Mapping[bytes, frozenset[str]]
    suggestions: Suggestions

    def in_submodule(self, path: bytes) -> bool:
        return bool(self.submodules) and any(folder in self.submodules for folder in _folders_above(path))

    def has(self, target: Inside) -> bool:
        return target.path in self.folders or (target.path in self.files and not target.folder)

    def document(self, target: Inside) -> bytes:
        """The file whose anchors a link means: GitHub shows the README of a folder."""
        readmes = (b"/".join(filter(None, (target.path, name))) for name in _READMES)
        return next((name for name in readmes if name in self.anchors), target.path)


def _tree(outlines: Mapping[str, Outline], files: Mapping[str, FileState]) -> _Tree:
    by_path = {raw_path(path): state for path, state in files.items()}
    submodules = frozenset(path for path, state in by_path.items() if state.mode == _SUBMODULE)
    folders = {b""} | submodules
    for path in by_path:
        folders.update(_folders_above(path))
    return _Tree(
        files=frozenset(by_path) - submodules,
        folders=frozenset(folders),
        submodules=submodules,
        anchors={raw_path(path): frozenset(outline.anchors) for path, outline in outlines.items()},
        suggestions=Suggestions(by_path, folders),
    )


def _folders_above(path: bytes) -> Iterator[bytes]:
    while (cut := path.rfind(b"/")) > 0:
        path = path[:cut]
        yield path


def _judge(path: str, link: Link, target: Leaves | Inside, tree: _Tree) -> Finding | None:
    if isinstance(target, Leaves):
        message = "leads out of the checkout; write a full URL for what lies outside"
        return Finding(path, link.line, link.target, "leaves-root", message)
    if not tree.has(target):
        suggestion = tree.suggestions.for_path(link.target, raw_path(path), target.path)
        message = f"there is no {path_text(target.path)}{'/' if target.folder else ''}"
        return Finding(path, link.line, link.target, "missing-file", message, suggestion)
    document = tree.document(target)
    anchors = tree.anchors.get(document)
    if anchors is None or _is_anchor(target, anchors):
        return None
    near = nearest(target.anchor, sorted(anchors))
    suggestion = None if near is None else f"{link.target.partition('#')[0]}#{near}"
    message = f"{path_text(document)} has no anchor #{target.anchor}"
    return Finding(path, link.line, link.target, "missing-anchor", message, suggestion)


def _is_anchor(target: Inside, anchors: frozenset[str]) -> bool:
    """`#` and `#top` are the top of every page; `#:~:text=` is an instruction to the browser."""
    name = target.anchor.partition(":~:")[0]
    if name in {"", "top"} or name in anchors or name.removeprefix("user-content-") in anchors:
        return True
    return target.plain and _LINES.fullmatch(name) is not None
