"""What operators do to sagas: retry, skip a step, abort.

    look      what the saga's state refuses is refused here
    tell      an entry of the audit stream: who, what, why
    ask       the request is appended to the saga's stream, at the version that was looked at; after a conflict, again
    answer    the worker that runs the saga decides it, as it decides everything else; that is waited for
    outcome   a second entry of the audit stream

No definition is needed for that. Without a worker the request stands in the stream, and the next one carries it out.
"""

from typing import Any

import anyio

from consumers.letter_shape import LetterShape
from consumers.membership import Members
from consumers.sagas import facts
from consumers.sagas.errors import SagaState
from consumers.sagas.facts import Fact
from consumers.sagas.groups import react_group
from consumers.sagas.history import History, facts_of, history
from consumers.sagas.requests import asked, refusal, request
from consumers.sagas.shape import Action, Answer
from consumers.sagas.show import kind_of, letter_of
from consumers.sagas.state import State
from eventstore import audit
from eventstore.envelope import Metadata
from eventstore.errors import EventStoreError, InvalidRequest, WrongExpectedVersion
from eventstore.store import EventStore

WAIT_SECONDS = 5.0
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.02, 0.2
OUTCOME = "-outcome"
_WORDS: dict[Action, str] = {"retry": "retry", "skip-step": "skip", "abort": "abort"}
"""What `Ignored` calls them."""


async def retry(
    store: EventStore, stream: str, *, who: str, why: str | None = None, wait_seconds: float = WAIT_SECONDS
) -> Answer:
    """Has what the saga is stuck at tried again, with all attempts; or what waits for its next attempt, at once. It is
    waited for the worker's answer, not for the attempt. Raises SagaNotFound; SagaState if nothing waits to be tried;
    what an append raises."""
    return await _ask(store, stream, "retry", "", who, why, wait_seconds)


async def skip_step(
    store: EventStore, stream: str, step: str, *, who: str, why: str, wait_seconds: float = WAIT_SECONDS
) -> Answer:
    """Has a step that waits, or is stuck, passed over; or the compensation that the saga waits for. This cannot be
    taken back, and needs a reason. Raises SagaNotFound; SagaState, also if the worker ignores it; InvalidRequest; what
    an append raises."""
    _check_reason("skip a step", why)
    return await _ask(store, stream, "skip-step", step, who, why, wait_seconds)


async def abort(store: EventStore, stream: str, *, who: str, why: str, wait_seconds: float = WAIT_SECONDS) -> Answer:
    """Has the saga go back: what has succeeded is compensated. This cannot be taken back, and needs a reason. Raises as
    `skip_step` does; a saga that is past its pivot only goes forward."""
    _check_reason("abort", why)
    return await _ask(store, stream, "abort", "", who, why, wait_seconds)


async def examine(store: EventStore, stream: str, action: Action, step: str = "") -> None:
    """Refuses now what could not be asked for, as the others do; changes nothing. Raises SagaNotFound, SagaState."""
    await _examined(store, stream, action, step)


def _check_reason(what: str, why: str | None) -> None:
    if not why or not why.strip():
        remedy = "say why, for those who look at the saga later"
        raise InvalidRequest(f"to {what} needs a reason", field="reason", remedy=remedy)


async def _ask(
    store: EventStore, stream: str, action: Action, step: str, who: str, why: str | None, wait_seconds: float
) -> Answer:
    found = await _examined(store, stream, action, step)
    told: dict[str, Any] = {"saga": stream, **({"step": step} if step else {})}
    mine = await audit.record(store, who, f"saga-{action}", why, told)
    told |= {"of": mine.version}
    try:
        found = await _append(store, found, action, step, who, why)
        answer = await _answered(store, found, action, step, wait_seconds)
    except EventStoreError as error:
        await audit.record(store, who, f"saga-{action}{OUTCOME}", None, told | {"error": str(error)})
        raise
    outcome = {"outcome": answer.outcome, "status": answer.status, **({"why": answer.why} if answer.why else {})}
    await audit.record(store, who, f"saga-{action}{OUTCOME}", None, told | outcome)
    return answer


async def _examined(store: EventStore, stream: str, action: Action, step: str) -> History:
    found = await history(store.log, stream)
    if found.damage is not None:
        raise found.damage
    _check(found.state, action, step, await letter_of(store.log, stream))
    return found


def _check(state: State, action: Action, step: str, letter: LetterShape | None = None) -> None:
    refused = refusal(state, action, step)
    if refused is None:
        return
    if letter is not None and letter.state == "parked" and not state.is_final:
        remedy = f"eventstore dlq retry {letter.group} {state.stream}"
        raise SagaState(state.stream, f"{state.stream} is parked at version {letter.version}: {letter.error}", remedy)
    raise SagaState(state.stream, refused.detail, refused.remedy)


async def _append(store: EventStore, found: History, action: Action, step: str, who: str, why: str | None) -> History:
    """What the saga has come to with the request; one that stands there already is not repeated."""
    stream = found.state.stream
    over_at = anyio.current_time() + store.log.settings.append_timeout_seconds
    while not _is_asked(found.state, action, step):
        fact = request(action, step, who, why)
        about = Metadata(correlation_id=found.state.correlation_id, traceparent=found.state.traceparent, actor=who)
        try:
            await store.append_to(stream, [fact], expected=found.state.version, metadata=about)
        except WrongExpectedVersion:
            if anyio.current_time() > over_at:
                raise
        else:
            async for event in facts_of(store.log, stream, found.state.version + 1):
                found.add(event)
                if isinstance(event.data, type(fact)):
                    return found
        found = await history(store.log, stream)
        _check(found.state, action, step)
    return found


def _is_asked(state: State, action: Action, step: str) -> bool:
    is_pending = action in asked(state)
    return is_pending and (action != "skip-step" or (state.skip is not None and state.skip.step == step))


# ---- the answer ----


async def _answered(store: EventStore, found: History, action: Action, step: str, wait_seconds: float) -> Answer:
    """As soon as a fact behind the request decides it. Raises SagaState if it was ignored."""
    state, pause = found.state, FIRST_PAUSE_SECONDS
    over_at = anyio.current_time() + wait_seconds
    while True:
        async for event in facts_of(store.log, state.stream, state.version + 1):
            found.add(event)
            if action not in asked(state):
                return await _decided(store, found, action, step, event.data)
        if anyio.current_time() > over_at:
            return await _recorded(store, state, action, step)
        workers, letter = await _workers(store, state), await letter_of(store.log, state.stream)
        if not workers or (letter is not None and letter.state == "parked"):
            return await _recorded(store, state, action, step)
        await anyio.sleep(pause)
        pause = min(2 * pause, LAST_PAUSE_SECONDS)


async def _decided(store: EventStore, found: History, action: Action, step: str, fact: Fact) -> Answer:
    state = found.state
    if isinstance(fact, facts.Ignored) and fact.what == _WORDS[action]:
        remedy = f"eventstore sagas show {state.stream}"
        raise SagaState(state.stream, f"{state.stream} ignored the {action}: {fact.why}", remedy)
    await found.follow(store.log)
    return Answer(state.stream, action, "done", state.status, step or None, None, await _workers(store, state))


async def _recorded(store: EventStore, state: State, action: Action, step: str) -> Answer:
    workers, letter = await _workers(store, state), await letter_of(store.log, state.stream)
    if letter is not None and letter.state == "parked":
        why = f"its stream is parked: eventstore dlq retry {letter.group} {state.stream}"
    elif not workers:
        why = "no worker runs this saga: the next one carries it out"
    elif state.is_busy:
        why = "an attempt is under way: it is carried out when that has ended"
    else:
        why = "the worker has not come to it yet"
    return Answer(state.stream, action, "recorded", state.status, step or None, why, workers)


async def _workers(store: EventStore, state: State) -> int:
    return len(await Members(store.log, react_group(kind_of(state.stream))).live())
