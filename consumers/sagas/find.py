"""Where sagas are found: types by their groups, sagas by the index, and those whose stream is parked."""

from collections import deque
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import partial

from msgspec import Struct

from consumers.errors import GroupNotFound
from consumers.groups import group_names
from consumers.keys import effect_key, group_keys
from consumers.letter_scan import failing, letters_of
from consumers.letter_shape import LetterShape
from consumers.sagas.groups import react_group
from consumers.sagas.history import History
from consumers.sagas.instances import stream_of
from consumers.sagas.state import Status
from eventstore.log import Log
from infrastructure.patience import replies
from infrastructure.tasks import together

PAGE = 200
Place = tuple[int, str]
"""Milliseconds and stream: sagas are listed the newest first, and of one time in falling order of their names."""
_BEGINNING, _END = "saga.", ".react"


class Parked(Struct, frozen=True):
    """A saga whose stream is parked. `indexed` is its status in the index, which knows no newer one."""

    stream: str
    letter: LetterShape
    indexed: Status | None
    found: History

    @property
    def place(self) -> Place:
        return (self.found.state.started_at or self.found.first_at) // 1_000, self.stream


async def saga_types(log: Log, saga: str | None = None) -> list[str]:
    """The types that a worker has run, or the one that is given. Raises GroupNotFound if none has run that."""
    found = types_among(await group_names(log))
    if saga is None:
        return found
    if saga not in found:
        near = get_close_matches(saga, found, n=1)
        guess = f", did you mean {near[0]}?" if near else ""
        remedy = f"eventstore work --app MODULE runs them; there are: {', '.join(found) or 'none'}"
        error = GroupNotFound(react_group(saga), f"no worker has run sagas of type {saga} yet{guess}", remedy)
        error.field = "type"
        raise error
    return [saga]


def types_among(groups: Iterable[str]) -> list[str]:
    """The types of sagas that have a group among these."""
    return [name[len(_BEGINNING) : -len(_END)] for name in groups if is_react(name)]


def is_react(group: str) -> bool:
    return group.startswith(_BEGINNING) and group.endswith(_END) and len(group) > len(_BEGINNING + _END)


async def parked_of(log: Log, saga: str, partition: int) -> list[Parked]:
    """The sagas of a type in a partition whose stream is parked in the group that follows them."""
    keys = group_keys(log.keys, react_group(saga), partition)
    streams = await failing(log, keys, retrying=False)
    found = []
    for at in range(0, len(streams), PAGE):
        letters = [each.shape() for each in await letters_of(log, keys, streams[at : at + PAGE]) if each.is_parked]
        found += await together([partial(_parked, log, letter) for letter in letters])
    return [each for each in found if not each.found.state.is_final]


async def _parked(log: Log, letter: LetterShape) -> Parked:
    """The index has what the facts before the letter have come to."""
    found = History(letter.stream)
    await found.follow(log, until=letter.version)
    indexed = found.state.status if found.state.version else None
    await found.follow(log)
    return Parked(letter.stream, letter, indexed, found)


class Indexed:
    """The sagas of one status in a partition, from a place on, the newest first; read in pages."""

    def __init__(self, log: Log, saga: str, partition: int, status: Status, below: Place | None) -> None:
        self.saga, self.status = saga, status
        self._log, self._below = log, below
        self._key = effect_key(log.keys, react_group(saga), partition, status)
        self._page: deque[Place] = deque()
        self._is_done = False

    async def first(self, newest_ms: float) -> Place | None:
        """The next one, which stays the next until `take`. Raises Unavailable."""
        size = PAGE
        while not self._page and not self._is_done:
            size = await self._read(newest_ms, size)
        return self._page[0] if self._page else None

    def take(self) -> None:
        self._below = self._page.popleft()

    async def _read(self, newest_ms: float, size: int) -> int:
        """The size of the next page: a larger one, if all of this were of one time, and known."""
        highest = newest_ms if self._below is None else min(self._below[0], newest_ms)
        most = "+inf" if highest == float("inf") else f"{highest:.0f}"
        words = (self._key, most, "-inf", "BYSCORE", "REV", "LIMIT", 0, size, "WITHSCORES")
        (flat,) = await replies(self._log.redis, self._key, ("ZRANGE", *words))
        pairs = zip(flat[::2], flat[1::2], strict=True)
        places = [(int(float(score)), stream_of(self.saga, member.decode())) for member, score in pairs]
        self._page.extend(place for place in places if self._below is None or place < self._below)
        self._is_done = len(places) < size
        return 2 * size


async def counts_of(log: Log, saga: str, partition: int, statuses: Sequence[Status]) -> list[int]:
    """How many sagas have each status, by the index."""
    keys = [effect_key(log.keys, react_group(saga), partition, status) for status in statuses]
    return [int(each) for each in await replies(log.redis, keys[0], *(("ZCARD", key) for key in keys))]
