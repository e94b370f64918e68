"""Which positions a plain XRANGE may bring, so that it brings them all and no more than a page may hold.

XRANGE has no bound in bytes, and is not of one moment with the look at the head that is sent before it. Both are made
good by what is asked for: a *span*, positions of one epoch that a look at the partition has shown, from id to id.

- An epoch is of one history, and what it holds at a position never changes. So an entry of the span is what the look
  has shown, or it is gone; whatever was appended since, also after a failover, has other ids.
- The look also told the size of the partition's largest event, so all that it has shown is bounded, and so is the span.
- Ids in a span are as many as its positions. If so many entries came, they are those, each in its place.
"""

from bisect import bisect_right
from operator import attrgetter

from msgspec import Struct

from eventstore.epochs import Chain
from infrastructure.wires import Command

# With 32 events, XRANGE and the look before it cost the server half of what the script does (59 us, 110 us), and the
# client the same. But a page that is cut short for its bound means further calls, of 50 us each and 90 at the client:
# with less than 128 events they cost more than XRANGE saves.
WORTH_A_CALL, WORTH_A_CUT = 32, 128
_first = attrgetter("first")


class Bound(Struct, frozen=True):
    """What one look at a partition has shown: no event up to the position `head` has more than `size` bytes."""

    head: int
    size: int


NO_BOUND = Bound(0, 0)


class Span(Struct, frozen=True):
    """Positions `first` to `last` of one epoch, upwards or downwards."""

    epoch: int
    first: int
    last: int

    @property
    def by(self) -> int:
        return 1 if self.first <= self.last else -1

    @property
    def count(self) -> int:
        return abs(self.last - self.first) + 1

    def command(self, log_key: str) -> Command:
        name = "XRANGE" if self.by == 1 else "XREVRANGE"
        return name, log_key, f"{self.epoch}-{self.first}", f"{self.epoch}-{self.last}"


def span_of(
    chain: Chain, bound: Bound, first: int, last: int, *, backwards: bool, events: int, size: int
) -> Span | None:
    """From position `first` towards `last` (0: to the other end), at most `events` and surely not more than `size`
    bytes. `bound` is from the look that showed `chain`. None if a script does better."""
    i = bisect_right(chain, first, key=_first)
    if i == 0 or not 1 <= first <= bound.head:
        return None
    there = first - max(last, 1) + 1 if backwards else min(last or bound.head, bound.head) - first + 1
    in_epoch = first - chain[i - 1].first + 1 if backwards else _end(chain, i, bound.head) - first + 1
    wanted = min(events, there)
    count = min(wanted, in_epoch, size // max(bound.size, 1))
    if count < WORTH_A_CALL or count < min(wanted, WORTH_A_CUT):
        return None
    return Span(chain[i - 1].epoch, first, first - count + 1 if backwards else first + count - 1)


def _end(chain: Chain, i: int, head: int) -> int:
    """Of the epoch before the one with index `i`."""
    return min(chain[i].first - 1, head) if i < len(chain) else head
