"""What a replay wants of the events that it goes over, as it is kept with the group in each partition that it concerns.

Whoever takes the lease reads it there. It says nothing of events that the group had not finished before: these are
handled whatever a replay wants. It stays when the replay is over, for an event may still fail as a part of it.
"""

from collections.abc import Callable

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from consumers.deliveries import Delivery
from eventstore.errors import LogDamaged
from eventstore.filters import Filter
from eventstore.log import Log


class Scope(Struct, frozen=True, omit_defaults=True):
    """`job` is the replay. Of the events that it goes over `until` is the position of the last that is handled again
    (None: all), and what is given of `types` and `correlation_id` must hold; the others are passed over without a call.
    `rate` is how many are handled in a second, by all members together. `is_first`: of the partitions of the replay,
    whose holder looks after it."""

    job: str
    until: int | None = None
    types: tuple[str, ...] = ()
    correlation_id: str | None = None
    rate: float | None = None
    is_first: bool = False

    def pack(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def parse(cls, text: str | bytes) -> "Scope | None":
        """None for the empty text of a group that was never replayed. Raises LogDamaged."""
        if not text:
            return None
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as error:
            raise LogDamaged(f"a group has been replayed with {text[:80]!r}") from error

    def resolved(self, log: Log) -> "Scope":
        """The same with each type under every name that it had."""
        where = log.resolved(Filter(types=self.types))
        return self if where is None else replace(self, types=where.types)

    @property
    def left_out(self) -> Callable[[Delivery], bool] | None:
        """Tells of an event that was finished before whether it is passed over; None if none is."""
        if self.until is None and not self.types and self.correlation_id is None:
            return None
        return self._leaves_out

    def _leaves_out(self, event: Delivery) -> bool:
        return (
            (self.until is not None and event.position > self.until)
            or (bool(self.types) and event.type not in self.types)
            or (self.correlation_id is not None and event.metadata.correlation_id != self.correlation_id)
        )
