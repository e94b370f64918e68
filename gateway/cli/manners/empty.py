"""A flag whose value is empty: what a script gives that has not set its variable. It would count as none, or as all."""

from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING

from gateway.errors import BadRequest

if TYPE_CHECKING:
    from cyclopts import App

REMEDY = "give a value, or leave the flag out; in a script: is its variable set?"


def refuse_empty(command: "App", words: list[str]) -> None:
    """Raises BadRequest that names the flag."""
    for flag in _empty(list(takewhile(lambda word: word != "--", words))):
        if flag in _with_value(command):
            raise BadRequest(f"{flag} is empty", field=flag, remedy=REMEDY)


def _empty(words: list[str]) -> Iterator[str]:
    """The flags before an empty word, and those that end with their `=`."""
    for before, word in zip(["", *words], words, strict=False):
        if word == "" and before.startswith("-"):
            yield before
        elif word.startswith("--") and word.find("=") == len(word) - 1:
            yield word[:-1]


def _with_value(command: "App") -> frozenset[str]:
    arguments = command.assemble_argument_collection()
    return frozenset(name for each in arguments if each.token_count()[0] for name in each.names)
