"""The timeline of a saga: its facts as a person tells them. What belongs together is one line, where it began.

    10:02:11.004  fetch            succeeded  1.1s
    10:02:12.530  store            failed     3 attempts
    10:02:13.900  compensate fetch failed     5 attempts

The facts themselves are what `eventstore read` prints of the stream.
"""

from typing import Any

from msgspec.structs import replace

from consumers.sagas import facts
from consumers.sagas.facts import Reason
from consumers.sagas.shape import Moment
from eventstore.envelope import RecordedEvent
from eventstore.wire import rfc3339

_ENDED = ("succeeded", "failed", "skipped")


class Timeline:
    """Takes the facts of one saga in their order."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self._places: dict[str, int] = {}
        self._began: list[int] = []
        self._started_at = 0
        self._skipped_by = 0

    def add(self, event: RecordedEvent) -> None:
        match event.data:
            case facts.StepStarted() | facts.StepSucceeded() | facts.StepFailed() | facts.StepSkipped():
                self._add_trial(event, event.data.step, f"step {event.data.step}")
            case facts.CompensationStarted() | facts.CompensationDone() | facts.CompensationFailed():
                self._add_trial(event, f"compensate {event.data.step}", f"undo {event.data.step}")
            case facts.CompensationSkipped(step):
                self._add_trial(event, f"compensate {step}", f"undo {step}")
            case facts.EventReceived() | facts.TimerSet() | facts.TimerFired() | facts.TimerCancelled():
                self._add_input(event)
            case facts.Reacted() | facts.Kept() | facts.Ignored():
                self._add_decision(event)
            case facts.RetryRequested() | facts.SkipRequested() | facts.AbortRequested():
                self._add_request(event)
            case _:
                self._add_saga(event)

    # ---- steps ----

    def _add_trial(self, event: RecordedEvent, what: str, key: str) -> None:
        """An attempt that is not the first of its row belongs to the line of the first."""
        match event.data:
            case facts.StepStarted(_, attempt, waits):
                self._begin(event, what, key, "waiting" if waits else "running", attempt)
            case facts.CompensationStarted(_, attempt):
                self._begin(event, what, key, "running", attempt)
            case facts.StepSucceeded(_, attempt, _, seconds) | facts.CompensationDone(_, attempt, seconds):
                self._outcome(event, what, key, "succeeded", attempt, seconds, None)
            case facts.StepFailed() | facts.CompensationFailed():
                fact = event.data
                status = "failed" if fact.retry_at is None else "retrying"
                self._outcome(event, what, key, status, fact.attempt, fact.seconds, fact.reason)
            case facts.StepSkipped(step, why) | facts.CompensationSkipped(step, why):
                if self._answered("skip", f"skip-step {step}"):
                    self._skipped_by = event.version
                if self._status(key) in (None, *_ENDED):
                    self._new(event, what, key, "skipped", why=why)
                else:
                    self._change(key, status="skipped", why=why, seconds=self._since(key, event))

    def _begin(self, event: RecordedEvent, what: str, key: str, status: str, attempt: int) -> None:
        if attempt > 1 and self._status(key) not in (None, *_ENDED):
            self._change(key, status=status, attempts=attempt)
        else:
            self._new(event, what, key, status, attempts=attempt)

    def _outcome(
        self,
        event: RecordedEvent,
        what: str,
        key: str,
        status: str,
        attempt: int,
        seconds: float,
        reason: Reason | None,
    ) -> None:
        if key not in self._places:
            self._new(event, what, key, status)
        took = seconds if attempt == 1 else self._since(key, event)
        self._change(key, status=status, attempts=attempt, error=reason, seconds=None if status == "retrying" else took)

    # ---- events, timers, operators ----

    def _add_input(self, event: RecordedEvent) -> None:
        match event.data:
            case facts.EventReceived(cause, kind, stream, version):
                self._new(event, f"event {kind}", cause, "received", why=f"from {stream}@{version}")
            case facts.TimerSet(name, due) if not name.startswith("$"):
                key = f"{name}@{event.version}"
                self._new(event, f"timer {name}", key, "set", why=f"for {rfc3339(due)}")
            case facts.TimerFired(name, set_at) if name == "$deadline":
                self._new(event, "deadline", f"{name}@{set_at}", "passed")
            case facts.TimerFired(name, set_at):
                key = f"{name}@{set_at}"
                self._change(key, status="fired", why=None, seconds=self._since(key, event))
            case facts.TimerCancelled(name, set_at):
                key = f"{name}@{set_at}"
                self._change(key, status="cancelled", why=None, seconds=self._since(key, event))

    def _add_decision(self, event: RecordedEvent) -> None:
        match event.data:
            case facts.Reacted(to) if self._status(to) == "received":
                self._change(to, status="taken")
            case facts.Kept(cause):
                self._change(cause, status="kept")
            case facts.Ignored(what, why):
                self._change(what, status="ignored", why=why)

    def _add_request(self, event: RecordedEvent) -> None:
        fact = event.data
        told = f"by {fact.who}{f': {fact.why}' if fact.why else ''}"
        match fact:
            case facts.RetryRequested():
                self._new(event, "retry", "retry", "asked", why=told)
            case facts.AbortRequested():
                self._new(event, "abort", "abort", "asked", why=told)
            case facts.SkipRequested(step):
                self._new(event, f"skip-step {step}", "skip", "asked", why=told)

    # ---- the saga itself ----

    def _add_saga(self, event: RecordedEvent) -> None:
        match event.data:
            case facts.Started():
                self._started_at = event.recorded_at
                self._new(event, "saga", "saga", "started")
            case facts.Sent(stream, kind, _, _, undo):
                self._new(event, f"{'undo: ' if undo else ''}send {kind}", "", "sent", why=f"to {stream}")
            case facts.Stuck(step):
                key = f"{'undo' if self._is_going_back() else 'step'} {step}"
                self._change(key, is_stuck=True)
            case facts.Forward(why):
                self._freed(event, why)
            case facts.Compensating(why):
                self._answered("abort")
                self._new(event, "saga", "saga", "compensating", why=why)
            case facts.Migrated(version):
                self._new(event, "saga", "", "migrated", why=f"to version {version}")
            case facts.Completed() | facts.Compensated():
                status = "completed" if isinstance(event.data, facts.Completed) else "compensated"
                self._new(event, "saga", "saga", status)
                self._change("saga", seconds=(event.recorded_at - self._started_at) / 1e6)

    def _freed(self, event: RecordedEvent, why: str) -> None:
        for place, moment in enumerate(self.moments):
            if moment.is_stuck:
                self.moments[place] = replace(moment, is_stuck=False)
        was_asked = self._answered("retry") or self._skipped_by == event.version - 1
        if not was_asked:
            self._new(event, "saga", "saga", event.data.to, why=why)

    def _is_going_back(self) -> bool:
        return self._status("saga") == "compensating"

    def _answered(self, request: str, what: str | None = None) -> bool:
        if self._status(request) != "asked" or what not in (None, self.moments[self._places[request]].what):
            return False
        self._change(request, status="done")
        return True

    # ---- lines ----

    def _new(self, event: RecordedEvent, what: str, key: str, status: str, **told: Any) -> None:
        self._places[key] = len(self.moments)
        self._began.append(event.recorded_at)
        self.moments.append(Moment(event.version, rfc3339(event.recorded_at), what, status, **told))

    def _change(self, key: str, **told: Any) -> None:
        place = self._places.get(key)
        if place is not None:
            self.moments[place] = replace(self.moments[place], **told)

    def _status(self, key: str) -> str | None:
        place = self._places.get(key)
        return None if place is None else self.moments[place].status

    def _since(self, key: str, event: RecordedEvent) -> float | None:
        place = self._places.get(key)
        return None if place is None else max(event.recorded_at - self._began[place], 0) / 1e6
