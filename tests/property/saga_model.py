"""What the facts of a saga may be, one after the other, written from PROTOCOLS.md 7 and DESIGN.md 4 alone:

    inputs are decided in the order of the stream, each once; no cause is recorded twice; the first wins a race
    a step is begun when all before it have ended, tried as often as its policy says, and succeeds once
    what has succeeded is taken back in reverse order, each once, and nothing beyond a pivot
    whoever decides leaves nothing undecided: a saga is final, stuck, or something is pending (DESIGN 8, 5)

`take` is given each fact and raises Wrong for one that may not be there; `decided` says whether anything is missing.
"""

from consumers.sagas import facts
from consumers.sagas.facts import Fact
from tests.property.saga_drafts import Plan, StepPlan

_ENDED = ("succeeded", "skipped")
_REQUESTS = {facts.AbortRequested: "abort", facts.RetryRequested: "retry", facts.SkipRequested: "skip"}


class Wrong(AssertionError):
    """A rule does not hold."""


class Input:
    def __init__(self, key: str, what: str, *, late: bool = False) -> None:
        self.key, self.what, self.late = key, what, late


class Trial:
    """Of a step, or of its compensation."""

    def __init__(self) -> None:
        self.phase, self.attempt = "none", 0


class Model:
    """Of one saga."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.version = 0
        self.status, self.stuck_while, self.stuck_at = "unstarted", "", ""
        self.steps = {each.name: Trial() for stage in plan.stages for each in stage}
        self.undos = {each.name: Trial() for stage in plan.stages for each in stage}
        self.stack: list[object] = []
        self.timers: dict[str, int] = {}
        self.inputs: list[Input] = []
        self.kept: list[Input] = []
        self.causes: set[str] = set()
        self.asked: dict[str, str] = {}
        self.notes = self.saga_version = 0
        self.begun_forward = self.gone_back = self.told_of_pivot = False
        self.owed = 0  # events that actions which succeeded have sent: one each
        self.following = ""
        """What a decision before has given leave to: a reaction, an answer, a time that is over, a skip."""

    # ---- what is asked of it ----

    def take(self, fact: Fact) -> None:
        self.version += 1
        getattr(self, f"_{type(fact).__name__}")(fact)

    def decided(self) -> None:
        """After an append of somebody who decides."""
        is_open = self.status in ("unstarted", "stuck") or self._may_turn()
        self._must(not self.owed, "an event is not sent")
        self._must(is_open or not self.inputs, "an input is undecided")
        self._must(is_open or self._is_busy() or not self.asked, "a request is undecided")
        getattr(self, f"_decided_{self.status}")()

    def waits_for_an_event(self) -> bool:
        """Nothing else will happen, and nothing needs to."""
        is_waiting = any(trial.phase == "waiting" for trial in self.steps.values())
        return self.status == "unstarted" or (self.status == "running" and (is_waiting or not self.plan.stages))

    @property
    def is_final(self) -> bool:
        return self.status in ("completed", "compensated")

    # ---- what must be so ----

    def _must(self, holds: object, what: str) -> None:
        if not holds:
            raise Wrong(what)

    def _pivot(self) -> str:
        return next((each.name for stage in self.plan.stages for each in stage if each.kind == "pivot"), "")

    def _has_pivoted(self) -> bool:
        return bool(self._pivot()) and self.steps[self._pivot()].phase == "succeeded"

    def _is_past(self) -> bool:
        return self._has_pivoted() or self.begun_forward

    def _late_pivot(self) -> bool:
        return self._has_pivoted() and self.gone_back and not self.told_of_pivot

    def _may_turn(self) -> bool:
        return self.status == "compensating" and bool(self._pivot()) and self.steps[self._pivot()].phase == "running"

    def _is_busy(self) -> bool:
        return any(trial.phase == "running" for trial in self.steps.values())

    def _stage(self) -> tuple[StepPlan, ...]:
        """The one under way; empty if all have ended."""
        unfinished = (stage for stage in self.plan.stages if any(not self._has_ended(each) for each in stage))
        return next(unfinished, ())

    def _has_ended(self, step: StepPlan) -> bool:
        return self.steps[step.name].phase in _ENDED

    def _decided_unstarted(self) -> None:
        self._must(not any(each.what == "Begins" for each in self.inputs) or not self.plan.starts, "it is to begin")

    def _decided_running(self) -> None:
        stage = self._stage()
        self._must(stage or not self.plan.stages, "all has ended, and it has not")
        for each in stage:
            phase = self.steps[each.name].phase
            self._must(phase not in ("none", "failed"), f"{each.name} is {phase}, and nothing follows")
            if phase == "retrying":
                self._must(f"$retry.{each.name}" in self.timers, f"{each.name} is never tried again")
            if phase == "waiting":
                self._must(not any(kept.what == each.waits for kept in self.kept), f"{each.name} has its event")
                self._must(not each.timeout or f"$wait.{each.name}" in self.timers, f"{each.name} waits for ever")

    def _decided_compensating(self) -> None:
        if self._is_busy():
            return
        self._must(self.stack, "all is taken back, and it goes on")
        trial = self.undos.get(str(self.stack[-1]), Trial())
        is_pending = trial.phase == "running" or f"$undo.{self.stack[-1]}" in self.timers
        self._must(is_pending, f"{self.stack[-1]} is to be taken back, and is not")

    def _decided_stuck(self) -> None:
        self._must(not self.asked, "an operator has asked")
        self._must(not self._is_freed(), f"{self.stuck_at} has succeeded")

    def _decided_completed(self) -> None:
        self._must(not self.timers, "a timer goes on")

    def _decided_compensated(self) -> None:
        self._must(not self.timers, "a timer goes on")
        self._must(not self.stack, f"{self.stack} is not taken back")
        self._must(not self._late_pivot(), "nobody knows that the pivot has succeeded")

    # ---- inputs ----

    def _Started(self, fact: facts.Started) -> None:
        self._must(self.status == "unstarted", "started twice")
        self.saga_version = fact.saga_version
        self.status, self.following = "running", "start"
        self.notes = fact.data["notes"]

    def _Migrated(self, fact: facts.Migrated) -> None:
        self._must(1 in self.plan.later.migrations and self.saga_version == 1, "it is of this version already")
        self._must(fact.saga_version == 2 and not self.is_final, "it goes on under another version")
        self.saga_version = 2

    def _EventReceived(self, fact: facts.EventReceived) -> None:
        self._must(fact.cause not in self.causes, f"{fact.cause} is recorded twice")
        self.causes.add(fact.cause)
        self.inputs.append(Input(fact.cause, fact.type))
        self.following = ""

    def _TimerFired(self, fact: facts.TimerFired) -> None:
        is_late = self.timers.get(fact.name) != fact.set_at
        if not is_late:
            del self.timers[fact.name]
        if is_late or not fact.name.startswith(("$retry", "$undo")):
            self.inputs.append(Input(f"{fact.name}@{fact.set_at}", f"timer {fact.name}", late=is_late))

    def _RetryRequested(self, fact: facts.RetryRequested) -> None:
        self.asked["retry"] = ""

    def _AbortRequested(self, fact: facts.AbortRequested) -> None:
        self.asked["abort"] = ""

    def _SkipRequested(self, fact: facts.SkipRequested) -> None:
        self.asked["skip"] = fact.step

    # ---- what becomes of them ----

    def _first(self, key: str) -> Input:
        self._must(self.inputs and self.inputs[0].key == key, f"{key} is decided out of turn")
        first = self.inputs[0]
        self.inputs = [each for each in self.inputs if each.key != key]  # a timer may fire twice
        return first

    def _Reacted(self, fact: facts.Reacted) -> None:
        self.notes = fact.changes.get("notes", self.notes)
        begin = next((each for each in self.inputs if each.key == fact.to and each.what == "Begins"), None)
        if self.following == "start" and begin is not None:
            self.inputs.remove(begin)
            self.following = "reaction"
            return
        self._must(self.status == "running", f"it reacts while it is {self.status}")
        kept = next((each for each in self.kept if each.key == fact.to), None)
        if kept is not None:
            self.kept.remove(kept)
            self.following = f"answer {kept.what}"
            return
        found = self._first(fact.to)
        self._must(not found.late, "a timer that was cancelled has an effect")
        if found.what.startswith("timer $wait."):
            step = found.what.removeprefix("timer $wait.")
            self._must(self.steps[step].phase == "waiting", f"{step} does not wait any more")
            self.following = f"over {step}"
        elif found.what == "timer $deadline":
            self._must(not self._is_past(), "the deadline counts beyond the pivot")
            self.following = "over"
        else:
            self._must(found.what in self.plan.reacts and found.what != "Begins", f"nothing reacts to {found.what}")
            self.following = "reaction"

    def _Kept(self, fact: facts.Kept) -> None:
        found = self._first(fact.cause)
        self._must(self.status == "running" and self._is_waited_for(found.what), f"nobody will want {found.what}")
        self.kept.append(found)

    def _is_waited_for(self, event: str) -> bool:
        steps = [each for stage in self.plan.stages for each in stage if each.waits == event]
        return any(self.steps[each.name].phase in ("none", "waiting") for each in steps)

    def _Ignored(self, fact: facts.Ignored) -> None:
        if fact.what in self.asked:
            step = self.asked.pop(fact.what)
            self._must(not self._can(fact.what, step), f"{fact.what} {step} could be done, and is ignored: {fact.why}")
            return
        found = self._first(fact.what)
        turns = self.status == "compensating" and self._is_past() and not self.gone_back
        self._must(not turns, f"{found.what} is ignored, and the saga goes on")
        if self.status != "running" or found.late:
            return
        self._must(found.what == "Begins" or found.what not in self.plan.reacts, f"{found.what} is ignored: {fact.why}")
        self._must(not self._is_waited_for(found.what), f"{found.what} is waited for, and is ignored")
        if found.what.startswith("timer $wait."):
            phase = self.steps[found.what.removeprefix("timer $wait.")].phase
            self._must(phase != "waiting", "a step waits for ever")
        self._must(found.what != "timer $deadline" or self._is_past(), "the deadline is ignored")

    def _can(self, what: str, step: str) -> bool:
        """Whether a request could be carried out."""
        if what == "abort":
            return self.status == "running" and not self._is_past()
        if what == "retry":
            prefix = {"running": "$retry", "compensating": "$undo"}.get(self.status, "none")
            return self.status == "stuck" or any(name.startswith(prefix) for name in self.timers)
        if self.status == "running":
            return step in self.steps and self.steps[step].phase in ("none", "waiting", "retrying", "failed")
        is_next = self.stack and self.stack[-1] == step and self.undos[step].phase != "running"
        return bool(self.status == "compensating" and is_next) or (self.status == "stuck" and step == self.stuck_at)

    # ---- going on ----

    def _StepStarted(self, fact: facts.StepStarted) -> None:
        plan, trial = self.plan.find(fact.step), self.steps[fact.step]
        self._turn(plan)
        self._must(fact.waits == bool(plan.waits), "it waits, or does not")
        self._must(trial.phase in ("none", "retrying"), f"{fact.step} is begun, and was {trial.phase}")
        self._must(f"$retry.{fact.step}" not in self.timers, f"{fact.step} is tried before its time")
        self._must(fact.attempt == trial.attempt + 1, "an attempt is left out, or made twice")
        self._must(
            trial.phase != "none" or not plan.when or self.notes % 2 == 0, f"the condition of {fact.step} does not hold"
        )
        trial.phase, trial.attempt = "waiting" if plan.waits else "running", fact.attempt
        self.begun_forward = self.begun_forward or plan.kind == "retriable"

    def _turn(self, plan: StepPlan) -> None:
        self._must(self.status == "running", f"{plan.name} goes on while the saga is {self.status}")
        self._must(plan in self._stage(), f"it is not the turn of {plan.name}")
        self._must(not self.inputs, "something else was first")

    def _StepSucceeded(self, fact: facts.StepSucceeded) -> None:
        plan, trial = self.plan.find(fact.step), self.steps[fact.step]
        if plan.waits:
            self._must(
                self.following == f"answer {plan.waits}" and trial.phase == "waiting", f"{fact.step} had no event"
            )
        else:
            self._must(fact.changes == {fact.step: 1}, f"{fact.step} changed {fact.changes}")
            is_tried = trial.phase in ("running", "retrying", "failed", "skipped")
            self._must(is_tried and fact.attempt <= trial.attempt, f"{fact.step} has succeeded, and was {trial.phase}")
        self._must(fact.undo == plan.undo, f"{fact.step} cannot be taken back, or can")
        trial.phase, self.following = "succeeded", "success"
        self.owed += not plan.waits
        if plan.undo:
            self.stack.append(plan.name)

    def _StepFailed(self, fact: facts.StepFailed) -> None:
        plan, trial = self.plan.find(fact.step), self.steps[fact.step]
        if plan.waits:
            self._must(self.following == f"over {fact.step}" and fact.retry_at is None, f"{fact.step} has failed")
        else:
            self._must(trial.phase == "running" and trial.attempt == fact.attempt, f"{fact.step} was not under way")
            self._must(
                (fact.retry_at is None) == (fact.attempt >= plan.attempts),
                f"{fact.step} is tried too often, or too little",
            )
        trial.phase, self.following = "failed" if fact.retry_at is None else "retrying", ""

    def _StepSkipped(self, fact: facts.StepSkipped) -> None:
        plan, trial = self.plan.find(fact.step), self.steps[fact.step]
        if self.asked.get("skip") == fact.step:
            self._must(self._can("skip", fact.step) and self.stuck_while != "compensating", f"{fact.step} is skipped")
            del self.asked["skip"]
            self.following = "skip"
        else:
            self._turn(plan)
            self._must(plan.when and self.notes % 2 and trial.phase == "none", f"{fact.step} is skipped")
        trial.phase = "skipped"

    def _Completed(self, fact: facts.Completed) -> None:
        self._must(self.status == "running", f"it completes, and was {self.status}")
        has_ended = self.plan.stages and not self._stage() and not self.inputs
        self._must(has_ended or self.following == "reaction", "something is left to do")
        self.status = "completed"

    # ---- going back ----

    def _Compensating(self, fact: facts.Compensating) -> None:
        if self.status == "compensated":
            self._must(self.stack or self._has_pivoted(), "it goes back once more, for nothing")
        else:
            self._must(self.status == "running", f"it goes back while it is {self.status}")
            has_failed = any(trial.phase == "failed" for trial in self.steps.values()) and not self.inputs
            wants = self.following in ("reaction", "over") or (
                ("abort" in self.asked or has_failed) and not self._is_past()
            )
            self._must(wants, f"it goes back: {fact.why}")
        self.asked.pop("abort", None)
        self.status, self.following = "compensating", ""

    def _back(self) -> None:
        self._must(self.status == "compensating", f"it is taken back while the saga is {self.status}")
        self._must(not self._is_busy(), "an action is under way")
        self._must(not self._is_past() or self.gone_back, "it is beyond its pivot")
        self._must(not self._late_pivot(), "nobody was told of the pivot")

    def _CompensationStarted(self, fact: facts.CompensationStarted) -> None:
        trial = self.undos[fact.step]
        self._back()
        self._must(self.stack and self.stack[-1] == fact.step, f"{fact.step} is not the last that has succeeded")
        self._must(trial.phase in ("none", "retrying"), f"{fact.step} is taken back, and was {trial.phase}")
        self._must(f"$undo.{fact.step}" not in self.timers, f"{fact.step} is taken back before its time")
        self._must(fact.attempt == trial.attempt + 1, "an attempt is left out, or made twice")
        trial.phase, trial.attempt, self.gone_back = "running", fact.attempt, True

    def _CompensationDone(self, fact: facts.CompensationDone) -> None:
        trial = self.undos[fact.step]
        self._must(trial.phase in ("running", "retrying", "failed", "skipped"), f"{fact.step} is taken back twice")
        self._must(fact.attempt <= trial.attempt, "it was not tried so often")
        if trial.phase != "skipped":
            self.stack.remove(fact.step)
        trial.phase, self.following = "succeeded", "success"
        self.owed += 1

    def _CompensationFailed(self, fact: facts.CompensationFailed) -> None:
        trial, plan = self.undos[fact.step], self.plan.find(fact.step)
        self._must(trial.phase == "running" and trial.attempt == fact.attempt, f"{fact.step} was not under way")
        is_last = fact.attempt >= plan.undo_attempts
        self._must((fact.retry_at is None) == is_last, f"{fact.step} is taken back too often, or too little")
        trial.phase = "failed" if is_last else "retrying"

    def _CompensationSkipped(self, fact: facts.CompensationSkipped) -> None:
        self._must(self.asked.get("skip") == fact.step and self._can("skip", fact.step), f"{fact.step} is skipped")
        del self.asked["skip"]
        self.undos[fact.step].phase, self.following = "skipped", "skip"
        if fact.step == self._pivot():
            self.told_of_pivot = True
        else:
            self.stack.remove(fact.step)

    def _Compensated(self, fact: facts.Compensated) -> None:
        self._back()
        self._must(not self.stack and not self.inputs, "something is left to be taken back")
        self.status = "compensated"

    def _Stuck(self, fact: facts.Stuck) -> None:
        if self.status == "compensating" and fact.step == self._pivot():
            self._must(self._late_pivot(), "the pivot is in time")
        elif self.status == "compensating":
            has_failed = self.undos[fact.step].phase == "failed"
            self._must(has_failed and self.stack[-1] == fact.step, f"{fact.step} is not what it waits for")
        else:
            self._must(self._is_past() and self.steps[fact.step].phase == "failed", f"it is stuck at {fact.step}")
        self.stuck_while = self.stuck_while if self.status == "stuck" else self.status
        self.status, self.stuck_at, self.following = "stuck", fact.step, ""

    def _Forward(self, fact: facts.Forward) -> None:
        if self.status == "stuck":
            self._must(fact.to == self.stuck_while, "it goes on the other way")
            is_wanted = "retry" in self.asked or self.following == "skip" or self._is_freed()
            self._must(is_wanted, "nobody wants it to go on")
            if self.following != "skip":
                self._anew()
            self.stuck_at = self.stuck_while = ""
        elif fact.to == "running" and self.status == "compensating":
            self._must(self._is_past() and not self.gone_back, "it goes on, and was to go back")
        else:
            self._must(fact.to == self.status and "retry" in self.asked, "nobody is in a hurry")
        self.asked.pop("retry", None)
        self.status, self.following = fact.to, ""

    def _is_freed(self) -> bool:
        trials = self.undos if self.stuck_while == "compensating" else self.steps
        return trials[self.stuck_at].phase == "succeeded"

    def _anew(self) -> None:
        """What is stuck is tried with all its attempts."""
        if self.stuck_while == "compensating" and self.stuck_at == self._pivot():
            self.told_of_pivot = True
            return
        trial = (self.undos if self.stuck_while == "compensating" else self.steps)[self.stuck_at]
        if trial.phase == "failed":
            trial.phase, trial.attempt = "retrying", 0

    # ---- what is sent, and timers ----

    def _Sent(self, fact: facts.Sent) -> None:
        if not fact.undo:
            self._must(self.following in ("reaction", "success"), "it is sent for no reason")
            self.owed -= self.following == "success"
            return
        self._back()
        self._must(self.stack and self.stack[-1] == (fact.stream, fact.data["what"]), "it is not the last to be sent")
        self.stack.pop()
        self.gone_back = True

    def _UndoNoted(self, fact: facts.UndoNoted) -> None:
        self._must(self.following == "reaction", "it is noted for no reason")
        self.stack.append((fact.stream, fact.data["what"]))

    def _TimerSet(self, fact: facts.TimerSet) -> None:
        self._must(fact.name not in self.timers, f"{fact.name} is set twice")
        kind, _, step = fact.name.partition(".")
        trials = {
            "$retry": (self.steps, "retrying"),
            "$undo": (self.undos, "retrying"),
            "$wait": (self.steps, "waiting"),
        }
        if kind in trials:
            of, phase = trials[kind]
            self._must(of[step].phase == phase, f"{fact.name} is for nothing")
        elif fact.name != "$deadline":
            self._must(self.following == "reaction", f"{fact.name} is set for no reason")
        self.timers[fact.name] = self.version

    def _TimerCancelled(self, fact: facts.TimerCancelled) -> None:
        self._must(self.timers.get(fact.name) == fact.set_at, f"{fact.name} is not set")
        del self.timers[fact.name]
