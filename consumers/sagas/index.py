"""Where the sagas of a type are found: kept by the commit of the group that follows them, exactly once.

    zset of each status   id -> when it began, of final ones when it ended (ms)
    zset `live`           id -> version of its definition, while it is not final

Of one partition each, among the group's effects. It is behind the log by as much as the group is.
"""

from msgspec import Struct

from consumers.effects import Effects
from consumers.sagas import facts
from consumers.sagas.instances import parts_of
from consumers.sagas.state import State, Status
from eventstore.envelope import RecordedEvent

LIVE = "live"
_BEFORE: dict[Status, tuple[Status, ...]] = {
    "unstarted": (),
    "running": ("unstarted", "compensating", "stuck"),
    "compensating": ("running", "stuck", "compensated"),
    "stuck": ("running", "compensating"),
    "completed": ("running",),
    "compensated": ("compensating",),
}


def note(effects: Effects, state: State, fact: Struct, event: RecordedEvent) -> None:
    """What a fact changes in the index."""
    status, parts = _status(fact, event.version), parts_of(event.stream)
    if parts is None:
        return
    saga_id = parts[1]
    if isinstance(fact, facts.Migrated):
        effects.zadd(LIVE, saga_id, fact.saga_version)
    if status is None:
        return
    if not (status == "running" and event.version == 1):
        for before in _BEFORE[status]:
            effects.zrem(before, saga_id)
    is_final = status in ("completed", "compensated")
    at = event.recorded_at if is_final or status == "unstarted" else state.started_at
    effects.zadd(status, saga_id, at // 1_000)
    if is_final:
        effects.zrem(LIVE, saga_id)
    elif status in ("running", "compensating"):
        effects.zadd(LIVE, saga_id, state.saga_version)


def _status(fact: Struct, version: int) -> Status | None:
    """Into which a saga comes by a fact."""
    match fact:
        case facts.Started():
            return "running"
        case facts.Forward(to=to):
            return to
        case facts.Compensating():
            return "compensating"
        case facts.Stuck():
            return "stuck"
        case facts.Completed():
            return "completed"
        case facts.Compensated():
            return "compensated"
        case facts.EventReceived() if version == 1:
            return "unstarted"
    return None
