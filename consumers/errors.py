"""Each error of consumers that a caller may catch, with its facts as attributes."""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from eventstore.errors import EventStoreError, InvalidRequest, StreamNotFound, Unavailable

__all__ = [
    "CommitRefused",
    "DeadLetterNotFound",
    "EventStoreError",
    "GroupNotFound",
    "InvalidConsumer",
    "InvalidRequest",
    "LackedHere",
    "OrderUnanswered",
    "PlanChanged",
    "ReplayNotFound",
    "ReplayRunning",
    "Stale",
    "StreamNotFound",
    "Unavailable",
]


class InvalidConsumer(EventStoreError):
    """A consumer is defined in a way that cannot work: the message names the handler and what to change."""

    code = "bad-request"


class LackedHere(EventStoreError):
    """This worker lacks what the event needs, and another one has it, or a later version of this one. The stream waits
    as its policy says; it counts neither as an attempt nor as a failure that opens the breaker."""

    code = "wrong-state"


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


class TimerNotFound(EventStoreError):
    """No event of that id waits for its time to be appended to that stream: it has been, or never waited. Nothing was
    changed."""

    code = "timer-not-found"

    def __init__(self, stream: str, event_id: UUID) -> None:
        self.stream, self.id = stream, event_id
        super().__init__(
            f"no event {event_id} waits to be appended to {stream}",
            field="id",
            remedy=f"eventstore timers list --stream {stream} has those that wait; eventstore read {stream}",
            facts={"stream": stream, "id": str(event_id)},
        )


class DeadLetterNotFound(EventStoreError):
    """No event of the stream fails in that group: it never did, or it has been dealt with."""

    code = "dead-letter-not-found"

    def __init__(self, group: str, stream: str) -> None:
        self.group, self.stream = group, stream
        super().__init__(
            f"no event of {stream} fails in group {group}",
            field="stream",
            remedy=f"eventstore dlq list {group}",
            facts={"group": group, "stream": stream},
        )


class PlanChanged(EventStoreError):
    """What was planned would be something else by now: the group was moved, or the log gave up events. Nothing was
    changed."""

    code = "plan-changed"

    def __init__(self, plan: str, now: str, group: str) -> None:
        self.plan, self.group = plan, group
        super().__init__(
            f"the plan {plan} for {group} is not what would be done now: it was moved, or something else is asked",
            field="plan",
            remedy="look at the plan of now, and run that one",
            facts={"plan": plan, "now": now, "group": group},
        )


class ReplayRunning(EventStoreError):
    """A group has one replay at a time. Nothing was changed."""

    code = "job-running"

    def __init__(self, group: str, job: str, moved: int, concerned: int) -> None:
        self.group, self.job = group, job
        is_moved = moved == concerned
        go_on = f"eventstore replays {job[:8]}" if is_moved else f"eventstore replays resume {job[:8]}"
        super().__init__(
            f"replay {job[:8]} of {group} is under way"
            + ("" if is_moved else f", {moved} of {concerned} partitions are moved"),
            field="group",
            remedy=f"{go_on}; or put the group back: eventstore replays cancel {job[:8]}",
            facts={"group": group, "job": job, "moved": moved, "partitions": concerned},
        )


class ReplayNotFound(EventStoreError):
    """No replay has that id, or one that begins so."""

    code = "replay-not-found"

    def __init__(self, replay: str) -> None:
        self.replay = replay
        super().__init__(
            f"there is no replay {replay}", field="replay", remedy="eventstore replays", facts={"replay": replay}
        )


class OrderUnanswered(EventStoreError):
    """Whoever holds the lease has not carried out an order in time, and it was withdrawn. Nothing is lost: the letters
    are listed as before, or, if it was just being carried out, it has taken effect."""

    code = "outcome-unknown"

    def __init__(self, group: str, streams: Sequence[str], seconds: float) -> None:
        self.group, self.streams = group, tuple(streams)
        named = ", ".join(self.streams[:5])
        super().__init__(
            f"{len(self.streams)} of the letters of {group} had no answer within {seconds:g} s: {named}",
            remedy=f"eventstore dlq list {group}, and look at its members: eventstore groups {group}",
            facts={"group": group, "streams": list(self.streams)},
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
