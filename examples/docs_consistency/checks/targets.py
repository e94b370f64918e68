"""From a link as written to what it means: another place, or a path and an anchor in this checkout."""

import re
from urllib.parse import unquote, unquote_to_bytes

from msgspec import Struct

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//")


class External(Struct, frozen=True):
    """Outside of the checkout by its scheme; not followed."""


class Leaves(Struct, frozen=True):
    """More `../` than there are folders above the document."""


class Inside(Struct, frozen=True):
    """`path` from the root, without slashes at its ends; empty for the root itself. `folder`: written with a slash at
    its end, so no file is meant. `plain`: `?plain=1`, GitHub's view of the source."""

    path: bytes
    folder: bool
    anchor: str
    plain: bool = False


def target_of(link: str, document: bytes) -> External | Leaves | Inside:
    """Percent-encoding is decoded; `/x` starts from the root and cannot leave it, as in a URL; all else starts from
    the folder of the document."""
    if _SCHEME.match(link):
        return External()
    whole, _, anchor = link.partition("#")
    written, _, query = whole.partition("?")
    path = unquote_to_bytes(written)
    if not path:
        return Inside(document, False, unquote(anchor), query == "plain=1")
    steps = [] if path.startswith(b"/") else document.split(b"/")[:-1]
    for step in path.split(b"/"):
        if step == b"..":
            if steps:
                steps.pop()
            elif not path.startswith(b"/"):
                return Leaves()
        elif step not in {b"", b"."}:
            steps.append(step)
    folder = path.endswith((b"/", b"/.", b"/..")) or path in {b".", b".."}
    return Inside(b"/".join(steps), folder, unquote(anchor), query == "plain=1")
