"""What a handler may ask about the event that it is called for, and how it says where its events go."""

import math
from typing import Any

import structlog
from msgspec import Struct

from consumers.effects import Effects
from consumers.state import Effect
from eventstore.envelope import RecordedEvent

_logger = structlog.get_logger("consumers")


class To(Struct, frozen=True):
    """An event that a handler returns for another stream than its cause's."""

    stream: str
    event: Any


class Context:
    """Of one attempt to handle one event. Handlers that take a parameter annotated with it get one; made by hand, it
    lets a unit test call a handler as the function that it is."""

    __slots__ = (
        "_effects",
        "_logger",
        "_prefix",
        "attempt",
        "deadline",
        "event",
        "fencing_token",
        "group",
        "replaying",
    )

    def __init__(
        self,
        event: RecordedEvent,
        group: str = "test",
        attempt: int = 1,
        replaying: bool = False,
        deadline: float = math.inf,
        fencing_token: int = 0,
        effect_prefix: str = "",
    ) -> None:
        self.event = event
        """The envelope: id, stream, version, recorded_at, metadata."""
        self.group = group
        self.attempt = attempt
        """Which call for this event it is, from 1."""
        self.replaying = replaying
        """Whether the group had finished the event before."""
        self.deadline = deadline
        """When the attempt is over its time, in seconds of `time.monotonic()`."""
        self.fencing_token = fencing_token
        """Grows with every change of the partition's owner: what lies outside of Redis refuses a lower one than it has
        seen."""
        self._prefix = effect_prefix
        self._effects: Effects | None = None
        self._logger: Any = None

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt and every replay of this event in this group, and for nothing else."""
        return f"{self.group}:{self.event.id}"

    @property
    def effects(self) -> Effects:
        """Collects what is to be written into Redis when the event is finished, exactly once."""
        if self._effects is None:
            self._effects = Effects(self._prefix)
        return self._effects

    def collected(self) -> tuple[Effect, ...]:
        """The effects so far, for the commit; it takes no more then."""
        return () if self._effects is None else self._effects.collected()

    @property
    def logger(self) -> Any:
        """A structlog logger that says which group handles which event, and the how-manieth attempt it is."""
        if self._logger is None:
            event = self.event
            self._logger = _logger.bind(
                group=self.group,
                stream=event.stream,
                version=event.version,
                event_id=str(event.id),
                correlation_id=event.metadata.correlation_id,
                attempt=self.attempt,
            )
        return self._logger

    def __repr__(self) -> str:
        return f"Context({self.group}, {self.event.stream} version {self.event.version}, attempt {self.attempt})"
