"""Where streams stand in their partition: what the rows of detached streams are compared with."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from msgspec import Struct

from consumers.keys import GroupKeys
from consumers.scripted import Argument, ask
from eventstore.log import Log
from infrastructure import lua

QUESTIONS_PER_CALL = 500  # some 20,000 looks at lists: 10 ms of the server's time
_index_places = lua.load("consumers", "index_places")


class Question(NamedTuple):
    """About one of a stream's versions, and about a position of its partition."""

    stream: str
    version: int
    position: int


class Standing(Struct, frozen=True):
    """The answer. `before` is the position of the version before (0: there is none, or it is archived), `at` that of
    the version itself (None: not appended yet; 0: archived), `first_above` the first version above the position,
    appended or next to come."""

    before: int
    at: int | None
    first_above: int


async def standings(log: Log, keys: GroupKeys, asked: Collection[Question]) -> dict[Question, Standing]:
    """Raises Unavailable, LogDamaged."""
    found: dict[Question, Standing] = {}
    questions = list(dict.fromkeys(asked))
    for first in range(0, len(questions), QUESTIONS_PER_CALL):
        found |= await _answered(log, keys, questions[first : first + QUESTIONS_PER_CALL])
    return found


async def _answered(log: Log, keys: GroupKeys, questions: Sequence[Question]) -> dict[Question, Standing]:
    indexes = [log.keys.index(keys.partition, each.stream) for each in questions]
    args: list[Argument] = [number for each in questions for number in (each.version, each.position)]
    flat = await ask(log, _index_places, indexes, args)
    threes = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    return {
        question: Standing(before, None if at < 0 else at, first_above)
        for question, (before, at, first_above) in zip(questions, threes, strict=True)
    }
