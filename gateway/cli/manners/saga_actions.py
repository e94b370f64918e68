"""What an operator does to one saga."""

from typing import TYPE_CHECKING

from gateway.cli.manners.confirm import confirmed
from gateway.cli.manners.session import Session, count
from gateway.errors import BadRequest

if TYPE_CHECKING:
    from gateway.sagas import Answer, SagaShape


async def retry_named(session: Session, saga_id: str, reason: str | None) -> None:
    from gateway import sagas
    from gateway.who import who_am_i

    async with session.store() as store:
        _print(session, await sagas.retry_saga(store, saga_id, who=who_am_i(), why=reason), "retried")


async def skip_named(session: Session, saga_id: str, step: str | None, reason: str | None, *, yes: bool) -> int:
    from gateway import sagas
    from gateway.who import who_am_i

    why = _reason("skip a step", reason)
    async with session.store(read_only=True) as store:
        wanted = step or (await sagas.show_saga(store, saga_id)).step
        if wanted is None:
            remedy = f"eventstore sagas skip-step {saga_id} STEP"
            raise BadRequest(f"{saga_id} is not stuck, so the step must be named", field="STEP", remedy=remedy)
        found = await sagas.examine_saga(store, saga_id, "skip-step", wanted)
    if not await confirmed(session, _skip_question(found, wanted), yes=yes):
        return 1
    async with session.store() as store:
        done = await sagas.skip_saga_step(store, saga_id, wanted, who=who_am_i(), why=why)
    _print(session, done, f"{wanted} is skipped")
    return 0


async def abort_named(session: Session, saga_id: str, reason: str | None, *, yes: bool) -> int:
    from gateway import sagas
    from gateway.who import who_am_i

    why = _reason("abort", reason)
    async with session.store(read_only=True) as store:
        found = await sagas.examine_saga(store, saga_id, "abort")
    if not await confirmed(session, _abort_question(found), yes=yes):
        return 1
    async with session.store() as store:
        done = await sagas.abort_saga(store, saga_id, who=who_am_i(), why=why)
    _print(session, done, "aborted")
    return 0


def _reason(what: str, reason: str | None) -> str:
    if not reason or not reason.strip():
        raise BadRequest(f"to {what} needs a reason", field="--reason", remedy='--reason "a test order"')
    return reason


def _skip_question(found: "SagaShape", step: str) -> str:
    if found.undo and found.undo[0] == step and found.is_going_back:
        return f"Skip the compensation of {step} in {found.id}? What {step} has done stays done for ever."
    return f"Skip {step} in {found.id}? It is never done, and the saga goes on as if it were."


def _abort_question(found: "SagaShape") -> str:
    if not found.undo:
        return f"Abort {found.id}? It does not go on; it has nothing to take back."
    things = "1 step is" if len(found.undo) == 1 else f"{count(len(found.undo))} steps are"
    return f"Abort {found.id}? It does not go on; {things} taken back: {', '.join(found.undo)}."


def _print(session: Session, done: "Answer", told: str) -> None:
    if done.outcome == "done":
        session.show(done, f"{done.id}: {told}, it is {done.status} now")
        return
    session.show(done, f"{done.id}: the {done.action} is recorded")
    session.note(done.why or "")
