"""Errors of projections that a caller may catch."""

from consumers.errors import InvalidConsumer
from eventstore.errors import EventStoreError, Unavailable

__all__ = ["InvalidConsumer", "ProjectionNotFound", "ReadModelBehind", "ReadModelUnavailable", "Unavailable"]


class ReadModelUnavailable(Unavailable):
    """The database of a read model cannot be used now. What `maybe_ran` may be repeated: it has an effect once."""

    code = "read-model-unavailable"

    def __init__(self, detail: str, *, maybe_ran: bool = True) -> None:
        super().__init__(f"the database of read models: {detail}", reason="database", maybe_ran=maybe_ran)


class ProjectionNotFound(EventStoreError):
    """There is no projection of that name, or no such generation of it. Nothing was changed."""

    code = "projection-not-found"

    def __init__(self, name: str, detail: str | None = None) -> None:
        self.name = name
        super().__init__(
            detail or f"there is no projection {name}",
            field="projection",
            remedy="eventstore projections",
            facts={"projection": name},
        )


class ReadModelBehind(EventStoreError):
    """The read model had not come to what was waited for in time. Nothing was read."""

    code = "not-caught-up"

    def __init__(self, name: str, partition: int, wanted: int, reached: int, seconds: float) -> None:
        self.name, self.partition, self.wanted, self.reached = name, partition, wanted, reached
        super().__init__(
            f"{name} is at position {reached:,} of partition {partition}, and {wanted:,} was waited for {seconds:g} s",
            field="wait_for",
            remedy=f"a longer timeout; or see what holds it up: eventstore projections show {name}",
            facts={"projection": name, "partition": partition, "wanted": wanted, "reached": reached},
        )
