"""Each error of consumers that a caller may catch, with its facts as attributes."""

from typing import Literal

from eventstore.errors import EventStoreError, InvalidRequest, Unavailable

__all__ = [
    "CommitRefused",
    "EventStoreError",
    "GroupNotFound",
    "InvalidConsumer",
    "InvalidRequest",
    "Stale",
    "Unavailable",
]


class InvalidConsumer(EventStoreError):
    """A consumer is defined in a way that cannot work: the message names the handler and what to change."""

    code = "bad-request"


class GroupNotFound(EventStoreError):
    """There is no consumer group of that name, or a part of it is gone. Nothing was changed."""

    code = "group-not-found"

    def __init__(self, group: str, detail: str | None = None, remedy: str | None = None) -> None:
        self.group = group
        super().__init__(
            detail or f"there is no group {group}",
            field="group",
            remedy=remedy or "eventstore groups",
            facts={"group": group},
        )


class Stale(EventStoreError):
    """A lease is somebody else's by now, or of another epoch: what its holder knows is of the past. Nothing was
    changed."""

    code = "wrong-state"

    def __init__(self, group: str, partition: int, why: str) -> None:
        self.group, self.partition, self.why = group, partition, why
        super().__init__(
            f"the lease of group {group} on partition {partition} is lost: {why}",
            facts={"group": group, "partition": partition, "why": why},
        )


class CommitRefused(EventStoreError):
    """What a handler brought cannot be carried out: `what` is an effect or a returned event, the one at `index` of the
    commit. Nothing of the commit was written, and it never will be as it is."""

    code = "bad-request"

    def __init__(self, what: Literal["effect", "event"], index: int, why: str, words: str) -> None:
        self.what, self.index, self.why = what, index, why
        super().__init__(
            f"{words} {why}",
            field="effects" if what == "effect" else "returned",
            remedy="mend the handler, or what is stored under that key, and retry the event",
            facts={"what": what, "index": index, "why": why},
        )
