"""Epochs: how a reader notices that the log it read has lost events, and finds its way back.

A server that restarts or takes over may have less than the one before. It numbers on in a new epoch, and `epochs` of
the partition's head (the *chain*) tells which epoch began at which position. A reader keeps the chain it has read
under, and compares it with the log's whenever it reads (PROTOCOLS.md section 6):

    chain     mine      E1:1  E2:41              position 57
              the log's E1:1        E3:51        head 60
    common    E1 in both; it ended at 40 in mine, at 50 in the log's: 40
    lost      41..57: reported, then the reader goes back to 40 and reads 41..60 of the other history

Who decides: the reader alone, from its chain and one atomic look at the partition. States: at the common position
(go on), above it (report, step back, cut the chain). A crash between report and step back reports again, under the
same id. A cursor has no chain: where its epoch is unknown nothing is known to be common, so reading begins anew.
"""

from bisect import bisect_right
from itertools import takewhile
from operator import attrgetter
from uuid import NAMESPACE_URL, UUID, uuid5

from msgspec import Struct

from eventstore.cursor import Place
from eventstore.errors import LogDamaged


class EpochStart(Struct, frozen=True):
    """An epoch and the position of its first event."""

    epoch: int
    first: int


Chain = tuple[EpochStart, ...]
_first = attrgetter("first")


class LostEvents(Struct, frozen=True):
    """`observer` has read events of a partition that the log no longer has: `first` to `last`, the last of them of
    `epoch`. It reads on from `first`."""

    observer: str | None
    partition: int
    epoch: int
    first: int
    last: int

    @property
    def id(self) -> UUID:
        """The same for a repeated report."""
        name = f"lost:{self.observer}:{self.partition}:{self.epoch}:{self.first}:{self.last}"
        return uuid5(NAMESPACE_URL, name)


def parse(text: str | bytes) -> Chain:
    """The chain in the form that the log keeps: `epoch:first position,...`. Raises LogDamaged."""
    plain = text.decode("ascii", "replace") if isinstance(text, bytes) else text
    if not plain:
        return ()
    try:
        chain = tuple(EpochStart(*map(int, item.split(":"))) for item in plain.split(","))
    except (ValueError, TypeError) as error:
        raise LogDamaged(f"the epochs of a partition are unreadable: {plain[:80]!r}") from error
    firsts = [start.first for start in chain]
    if firsts[0] != 1 or firsts != sorted(set(firsts)):
        raise LogDamaged(f"the epochs of a partition do not follow each other: {plain[:80]!r}")
    return chain


def common_position(mine: Chain, theirs: Chain, position: int, head: int) -> int:
    """The last position that a reader at `position` under chain `mine` has in common with the log, whose chain is
    `theirs` and whose last position is `head`."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(mine, theirs, strict=False)))
    if same == 0:
        return 0
    return min(_end(mine, same - 1, position), _end(theirs, same - 1, head))


def common_position_of(place: Place, theirs: Chain, head: int) -> int:
    """The same for a cursor, which knows only the epoch of its position."""
    epoch, position = place
    for i, start in enumerate(theirs):
        if start.epoch == epoch:
            return min(position, _end(theirs, i, head))
    return 0


def _end(chain: Chain, i: int, last: int) -> int:
    return chain[i + 1].first - 1 if i + 1 < len(chain) else last


def epoch_at(chain: Chain, position: int) -> int:
    """The epoch of a position; 0 for position 0."""
    i = bisect_right(chain, position, key=_first)
    return chain[i - 1].epoch if i else 0


def cut(chain: Chain, position: int) -> Chain:
    """The chain of a reader that has come to `position`."""
    return tuple(start for start in chain if start.first <= position)


class Observer:
    """How far one reader has come in one partition, and the chain it has read under. A reader that begins at a place
    from outside (a cursor) has no chain until its first look.

    The epoch noted last names the whole chain, for no two histories share one. So a reader that says which one it
    knows (`chain`) is told the epochs only if that is not the log's: None means that nothing has changed.
    """

    def __init__(self, place: Place = (0, 0)) -> None:
        self.epoch, self.position = place
        self.chain: Chain | None = None
        self._shown: tuple[bytes, Chain] | None = None  # what was parsed last: it is compared, then moved to

    @property
    def place(self) -> Place:
        return self.epoch, self.position

    def common(self, text: bytes | None, head: int) -> int:
        """The last position in common with a log that shows these epochs and head: `position` if nothing was lost."""
        theirs = self._parsed(text)
        if self.chain is None:
            return common_position_of(self.place, theirs, head)
        if theirs is self.chain:
            return min(self.position, head)
        return common_position(cut(self.chain, self.position), theirs, self.position, head)

    def knows(self, epoch: int, position: int) -> bool:
        """Whether the entry at a place is part of the history that was read; 0, 0 is part of each."""
        return self.chain is not None and epoch_at(self.chain, position) == epoch

    def move(self, text: bytes | None, position: int) -> None:
        """Goes to a position of the log as it is now."""
        self.chain = self._parsed(text)
        self.epoch, self.position = epoch_at(self.chain, position), position

    def _parsed(self, text: bytes | None) -> Chain:
        if text is None:
            return self.chain or ()
        if self._shown is None or self._shown[0] != text:
            self._shown = text, parse(text)
        return self._shown[1]
