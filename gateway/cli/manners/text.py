"""Text for people: colours, widths, and no control characters that came with the data."""

import re
from collections.abc import Iterable
from typing import Literal

Style = Literal["good", "warn", "bad", "dim", "bold"]
_CODES: dict[Style, str] = {"good": "32", "warn": "33", "bad": "31", "dim": "2", "bold": "1"}
_STYLES: dict[str, Style] = {
    "ok": "good",
    "done": "good",
    "running": "good",
    "WARN": "warn",
    "stalled": "warn",
    "completed": "good",
    "succeeded": "good",
    "compensating": "warn",
    "retrying": "warn",
    "stuck": "bad",
    "paused": "warn",
    "incomplete": "bad",
    "cancelled": "warn",
    "FAIL": "bad",
    "failed": "bad",
}
# Controls, line separators, and marks that turn the direction of writing: a payload must not steer a terminal.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def safe(text: str) -> str:
    """The text with everything that could steer a terminal written as an escape."""
    return _UNSAFE.sub(lambda found: _escaped(found[0]), text)


def _escaped(character: str) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    code = ord(character)
    return short or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def paint(text: str, style: Style | None, *, color: bool) -> str:
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if color and style and text else text


def style_of(word: str) -> Style | None:
    """Colour goes with a word that says the same."""
    return _STYLES.get(word)


def width(text: str) -> int:
    """Columns on a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, columns: int) -> str:
    """The text, or as much of it as fits with an ellipsis."""
    if width(text) <= columns:
        return text
    from rich.cells import set_cell_size

    return set_cell_size(text, max(columns - 1, 0)).rstrip() + "…"


def spell_numbers(numbers: Iterable[int]) -> str:
    """`0-3,7,9-10`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
