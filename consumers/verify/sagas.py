"""Verify: sagas, by their streams (DESIGN.md section 8, invariant 5).

    5  every saga that was started has ended, is stuck, or has something open: an action, a timer, a wait, an input
       an action whose fact was handled has its outcome; a timer whose fact was handled waits; so is every input decided
       the index has each saga under the status that its stream gives, when all of the stream was handled

What the group has handled is read before the streams are: what it had handled by then must show in them. So workers may
go on beside it.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from msgspec import Struct

from consumers.keys import GroupKeys, effect_key, group_keys, timer_keys
from consumers.sagas import facts
from consumers.sagas.facts import know_facts
from consumers.sagas.find import types_among
from consumers.sagas.groups import react_group
from consumers.sagas.history import History
from consumers.sagas.index import LIVE
from consumers.sagas.instances import parts_of, stream_of
from consumers.sagas.react import timer_id
from consumers.sagas.requests import asked
from consumers.sagas.state import RETRY, STATUSES, UNDO, Pending, State, Status, key_of
from consumers.scripted import place
from consumers.state import Row
from consumers.verify.groups import names_of_groups
from consumers.verify.stored import StoredGroup, stored_group
from eventstore.envelope import RecordedEvent
from eventstore.errors import LogDamaged
from eventstore.key_scan import keys_of
from eventstore.log import Log
from eventstore.verify import Findings, OnProgress
from eventstore.wire import rfc3339
from infrastructure.patience import replies
from infrastructure.tasks import together

SAGAS_AT_ONCE = 100
_UNDER_WAY = ("running", "compensating", "stuck")


async def check_sagas(log: Log, findings: Findings, on_progress: OnProgress) -> None:
    """All sagas: invariant 5. For `verify`, behind `check_log`, which tells of the progress. Raises Unavailable."""
    know_facts(log.types)
    kinds = types_among(await names_of_groups(log))
    for partition, streams in enumerate(await _streams(log)):
        by_kind: dict[str, list[str]] = {kind: [] for kind in kinds}
        for stream in sorted(streams):
            if (parts := parts_of(stream)) is not None:
                by_kind.setdefault(parts[0], []).append(stream)
        for kind, sagas in by_kind.items():
            await _Part(log, findings, partition, kind).check(sagas)


async def _streams(log: Log) -> list[list[str]]:
    """Of each partition, by the keys of their indexes, those that begin as a saga's does."""
    beginning = log.keys.index(0, "saga-*")
    if log.redis.is_cluster:
        patterns = [(p, log.keys.index(p, "saga-*")) for p in range(log.partitions)]
    else:
        head, _, tail = beginning.partition("{")
        patterns = [(0, f"{head}{{*{tail[tail.index('}') :]}")]
    keys = [key for p, pattern in patterns for key in await keys_of(log, p, pattern)]
    stems = {log.keys.index(p, ""): p for p in range(log.partitions)}
    found: list[list[str]] = [[] for _ in stems]
    for key in keys:
        stem, _, rest = key.partition("saga-")
        if stem in stems:
            found[stems[stem]].append(f"saga-{rest}")
    return found


class _Handled(Struct, frozen=True):
    """Up to where the group had come: the main pass to `offset`, detached streams to their row."""

    offset: int
    rows: dict[str, Row]

    def has(self, stream: str, version: int, position: int) -> bool:
        row = self.rows.get(stream)
        return position <= self.offset if row is None else version < row.next


class _Part:
    """The sagas of one type in one partition."""

    def __init__(self, log: Log, findings: Findings, partition: int, kind: str) -> None:
        self._log, self._findings, self._partition, self._kind = log, findings, partition, kind
        self._keys: GroupKeys = group_keys(log.keys, react_group(kind), partition)

    async def check(self, streams: Sequence[str]) -> None:
        before = await stored_group(self._log, self._keys)
        index = await self._index()
        after = await stored_group(self._log, self._keys)
        handled = _handled(before)
        is_settled = before.control == after.control and handled.offset >= before.head
        expected: dict[str, Status] = {}
        every = sorted({*streams, *(each for ids in index.values() for each in ids)})  # some are newer than the list
        for at in range(0, len(every), SAGAS_AT_ONCE):
            some = every[at : at + SAGAS_AT_ONCE]
            found = await together([partial(self._saga, stream, handled) for stream in some])
            expected |= {stream: status for stream, status in zip(some, found, strict=True) if status is not None}
        if before.control and is_settled:
            self._check_index(expected, index, handled.rows)

    def _say(self, kind: str, stream: str, detail: str) -> None:
        self._findings.add(kind, 5, self._partition, stream, f"{detail}; eventstore sagas show {stream}")

    # ---- one saga ----

    async def _saga(self, stream: str, handled: _Handled) -> Status | None:
        """Its status by what was handled of it; None if that is nothing, or it is none."""
        saga = _Watched(stream, handled)
        await saga.follow(self._log)
        if saga.damage is not None and saga.state.version:
            self._say("fact", stream, saga.damage.detail)
        elif saga.state.status in _UNDER_WAY:
            if not _has_something_open(saga.state):
                what = "no action, no timer, nothing that it waits for"
                self._say("idle", stream, f"it is {saga.state.status}, and nothing of it is open: {what}")
            for detail in _lost(saga):
                self._say("lost", stream, detail)
            await self._check_timers(saga)
        return saga.indexed

    async def _check_timers(self, saga: "_Watched") -> None:
        """A timer fires by one call, which takes it away and appends its fact: what is missing is looked for again."""
        key = timer_keys(self._log.keys, self._partition).what
        missing = {name: each for name, each in saga.state.timers.items() if saga.is_handled(each.set_at)}
        for name, pending in missing.items():
            timer = str(timer_id(saga.state.stream, pending.set_at, pending.due))
            ((kept,),) = await replies(self._log.redis, key, ("HMGET", key, timer))
            if kept is None:
                await saga.follow(self._log)
            if kept is None and saga.state.timers.get(name) == pending:
                self._say("timer", saga.state.stream, _no_timer(saga.state.stream, name, pending))

    # ---- the index ----

    async def _index(self) -> dict[str, list[str]]:
        """Streams by status, and those that live."""
        names = (*STATUSES, LIVE)
        keys = [effect_key(self._log.keys, react_group(self._kind), self._partition, name) for name in names]
        found = await replies(self._log.redis, keys[0], *(("ZRANGE", key, 0, -1) for key in keys))
        ids = [[stream_of(self._kind, each.decode("utf-8", "replace")) for each in members] for members in found]
        return dict(zip(names, ids, strict=True))

    def _check_index(self, expected: dict[str, Status], index: dict[str, list[str]], rows: dict[str, Row]) -> None:
        mended = f"the list is wrong, the saga is not: the index is kept by the commits of {react_group(self._kind)}"
        live = set(index.pop(LIVE))
        told: dict[str, list[str]] = {}
        for name, streams in index.items():
            for stream in streams:
                told.setdefault(stream, []).append(name)
        for stream in sorted((expected.keys() | told.keys() | live) - rows.keys()):
            status = expected.get(stream)
            under = told.get(stream, [])
            if under != ([status] if status else []):
                listed = f"the index has it under {' and '.join(under) or 'nothing'}"
                self._say("index", stream, f"{listed}, and it is {status or 'not there'}; {mended}")
            elif (stream in live) != (status in _UNDER_WAY):
                listed = "has it" if stream in live else "lacks it"
                self._say("index", stream, f"it is {status}, and the index of those that live {listed}; {mended}")


class _Watched(History):
    """A history that knows which facts were handled, and by which of them what is open was begun."""

    def __init__(self, stream: str, handled: _Handled) -> None:
        super().__init__(stream)
        self._handled = handled
        self.indexed: Status | None = None
        self.begun: dict[str, int] = {}
        self.inputs: dict[str, int] = {}

    def add(self, event: RecordedEvent) -> None:
        super().add(event)
        if self.is_handled(event.version):
            self.indexed = self.state.status
        match event.data:
            case facts.StepStarted(step):
                self.begun[step] = event.version
            case facts.CompensationStarted(step):
                self.begun[f"the compensation of {step}"] = event.version
            case facts.EventReceived() | facts.TimerFired():
                self.inputs[key_of(event.data)] = event.version
            case facts.RetryRequested() | facts.SkipRequested() | facts.AbortRequested():
                self.inputs[event.type.removeprefix("saga.").removesuffix("_requested")] = event.version

    def is_handled(self, version: int) -> bool:
        return self._handled.has(self.state.stream, version, self.positions[version - 1])


def _handled(stored: StoredGroup) -> _Handled:
    """Nothing, where there is no group, or none that can be read: check_groups tells that."""
    rows: dict[str, Row] = {}
    try:
        for stream, packed in stored.rows.items():
            rows[stream] = Row.parse(packed)
        return _Handled(place(stored.control.get("offset", "0-0").encode())[1], rows)
    except (ValueError, LogDamaged):
        return _Handled(0, {})


def _has_something_open(state: State) -> bool:
    if state.status == "stuck" or state.timers or state.inbox or asked(state):
        return True
    if state.is_busy or any(each.undo.phase == "running" for each in state.steps.values()):
        return True
    is_waiting = not state.steps or any(each.action.phase == "waiting" for each in state.steps.values())
    return state.status == "running" and is_waiting


def _lost(saga: _Watched) -> Iterator[str]:
    """What nobody will do any more: the worker is past the fact that asks for it."""
    state = saga.state
    for name, step in state.steps.items():
        for what, trial in ((name, step.action), (f"the compensation of {name}", step.undo)):
            version = saga.begun.get(what, 0)
            if trial.phase == "running" and version and saga.is_handled(version):
                yield f"{what} was begun at version {version}, that was handled or discarded, and it has no outcome"
    if state.status == "stuck" or state.is_busy:
        return
    undecided = [key_of(each.fact) for each in state.inbox] + [each.removesuffix("-step") for each in asked(state)]
    for key in undecided:
        version = saga.inputs.get(key, 0)
        if version and saga.is_handled(version):
            yield f"what version {version} says was handled or discarded, and nothing was decided on it"


def _no_timer(stream: str, name: str, pending: Pending) -> str:
    said = f"its timer {name}, set at version {pending.set_at} for {rfc3339(pending.due)}, is not kept: it never fires"
    return f"{said}; eventstore sagas retry {stream}" if name.startswith((RETRY, UNDO)) else said
