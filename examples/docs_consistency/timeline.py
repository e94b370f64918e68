"""What became of a saga, in a few lines for the terminal."""

from collections.abc import Iterator

from consumers.sagas.state import State, Trial
from examples.docs_consistency.saga import DocConsistencySaga

_FOUND = {
    "ingest": (("revisions", "revision"), ("events", "event")),
    "store": (("files", "file"),),
    "analyse": (("documents", "document"), ("links", "link"), ("findings", "finding")),
}


def timeline(state: State) -> Iterator[str]:
    """A line for the saga and one for each thing that was done, in its order."""
    ended = f" in {(state.ended_at - state.started_at) / 1_000_000:.1f} s" if state.is_final else ""
    yield f"{state.stream}  {state.status}{ended}"
    for step in DocConsistencySaga.steps:
        trial = state.step(step.name).action
        if trial.phase != "none":
            yield _line(step.name, trial, _found(step.name, state))
    for step in reversed(DocConsistencySaga.steps):
        trial = state.step(step.name).undo
        if trial.phase != "none":
            yield _line(f"take back {step.name}", trial, "")


def count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _found(step: str, state: State) -> str:
    if state.step(step).action.phase != "succeeded":
        return ""
    if step == "report":
        return str(state.data["report"])
    return ", ".join(count(state.data[field], what) for field, what in _FOUND.get(step, ()))


def _line(what: str, trial: Trial, found: str) -> str:
    if trial.reason is not None:
        attempts = count(trial.attempt, "attempt")
        return f"  {what:<18} {trial.phase:<9}  {attempts}  {trial.reason.type}: {trial.reason.message}".rstrip()
    return f"  {what:<18} {trial.phase:<9}  {trial.seconds:5.1f} s  {found}".rstrip()
