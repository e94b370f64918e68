"""GitHub's rule for the anchor of a heading: lower case, no punctuation or symbols, one hyphen for each space.

The rule is that of github-slugger, which follows GitHub: letters, marks, decimal and letter numbers, connectors (`_`)
and `-` stay; a heading whose anchor is taken gets `-1`, `-2`, ...
"""

from unicodedata import category

_KEPT = frozenset({"Nd", "Nl", "Pc"})


class Slugs:
    """The anchors of one document, given out in the order of its headings."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def next(self, heading: str) -> str:
        plain = slug = slug_of(heading)
        while slug in self._taken:
            self._taken[plain] += 1
            slug = f"{plain}-{self._taken[plain]}"
        self._taken[slug] = 0
        return slug


def slug_of(heading: str) -> str:
    """The anchor of a heading that is alone in its document."""
    return "".join(filter(_stays, heading.lower())).replace(" ", "-")


def _stays(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in "-_ "
    kind = category(character)
    # Circled and squared letters are symbols and letters at once; GitHub takes them for letters.
    return kind[0] in "LM" or kind in _KEPT or "Ⓐ" <= character <= "ⓩ" or "🄰" <= character <= "🆉"
