"""The nearest thing that exists, for a link that leads nowhere."""

import posixpath
import re
from collections.abc import Iterable
from difflib import get_close_matches
from urllib.parse import quote

from examples.docs_consistency.paths import path_text

_ALIKE = 0.6
_SPECIAL = re.compile(r"[\s%#?()<>\"\\]")


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most alike; upper and lower case count little. None if none is alike."""
    by_lower = {candidate.lower(): candidate for candidate in candidates if candidate}
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=_ALIKE)
    return by_lower[found[0]] if found else None


class Suggestions:
    """Looks for files; remembers what it found, for broken targets come in crowds."""

    def __init__(self, files: Iterable[bytes], folders: Iterable[bytes]) -> None:
        self._names: dict[str, list[str]] = {}
        for path in sorted(path_text(path) for path in (*files, *folders) if path):
            self._names.setdefault(posixpath.basename(path).lower(), []).append(path)
        self._found: dict[bytes, str | None] = {}

    def for_path(self, written: str, document: bytes, missing: bytes) -> str | None:
        """A link that could stand in the place of `written` in that document: from the root if it was so, else
        relative, with its anchor."""
        if missing not in self._found:
            self._found[missing] = self._search(path_text(missing))
        near = self._found[missing]
        if near is None or near.startswith("/"):
            return None
        folder = posixpath.dirname(path_text(document))
        path = f"/{near}" if written.startswith("/") else posixpath.relpath(near, folder or ".")
        return _SPECIAL.sub(lambda found: quote(found[0]), path) + "".join(written.partition("#")[1:])

    def _search(self, missing: str) -> str | None:
        name = posixpath.basename(missing).lower()
        for candidate in (f"{name}.md", name, f"{name}.markdown"):
            if candidate in self._names:
                return _closest(missing, self._names[candidate])
        # Names of another initial are seldom meant, and comparing all takes 10 ms for each of thousands of findings.
        alike = nearest(name, (other for other in self._names if other[:1] == name[:1]))
        return None if alike is None else _closest(missing, self._names[alike])


def _closest(missing: str, paths: list[str]) -> str:
    """Of files with one name, the one whose folders agree most with the missing one's, from either end."""

    def agreement(path: str) -> int:
        ours, wanted = path.lower().split("/"), missing.lower().split("/")
        front = len(posixpath.commonprefix([ours, wanted]))
        back = len(posixpath.commonprefix([ours[-2::-1], wanted[-2::-1]]))
        return front + back

    return max(paths, key=agreement)
