"""A step of a saga, and the step as `parallel` takes it."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct

from consumers import retry as policies
from consumers.checks import duration, refused
from consumers.errors import InvalidConsumer
from consumers.handlers import Handler
from consumers.retry import Policy, Rules, rules_of
from consumers.sagas.reactions import Wait
from eventstore.errors import InvalidRequest
from eventstore.names import plain_name

Kind = Literal["compensatable", "pivot", "retriable"]
KINDS: tuple[Kind, ...] = ("compensatable", "pivot", "retriable")


class Step(Struct, frozen=True, eq=False):
    """One step of a saga: an action, or an event that is waited for."""

    name: str
    function: Callable[..., Any] | None
    compensate: Callable[..., Any] | None
    rules: Rules
    undo_rules: Rules
    timeout_seconds: float | None
    when: Callable[[Any], bool] | None
    kind: Kind
    wait: Wait | None = None
    action: Handler | None = None
    undo: Handler | None = None
    """What is called, once the saga's data are known."""


def step(
    name: str,
    action: Callable[..., Any],
    *,
    compensate: Callable[..., Any] | None = None,
    retry: Policy = policies.DEFAULT,
    on: Mapping[type[Exception], Policy] | None = None,
    retry_compensation: Policy = policies.DEFAULT,
    timeout: str | float = "60s",
    when: Callable[[Any], bool] | None = None,
    kind: Kind = "compensatable",
) -> Step:
    """A step for `Saga.parallel`; `Saga.step` takes the same and says what it means. Raises InvalidConsumer."""
    if kind not in KINDS:
        raise refused("kind", kind, "", '"compensatable", "pivot" or "retriable"')
    if kind != "compensatable" and compensate is not None:
        raise InvalidConsumer(f"{name} is {kind}, and has a compensation", field="compensate", remedy="leave it out")
    return Step(
        plain("step", name),
        function_of("action", action),
        None if compensate is None else function_of("compensate", compensate),
        rules_of(retry, on),
        rules_of(retry_compensation, None),
        duration("timeout", timeout, shortest=0.001),
        None if when is None else function_of("when", when),
        kind,
    )


def waiting(name: str, wait: Wait, timeout: str | float | None, when: Callable[[Any], bool] | None) -> Step:
    """The step that `Saga.wait` makes."""
    return Step(
        plain("step", name),
        None,
        None,
        Rules(),
        Rules(),
        None if timeout is None else duration("timeout", timeout, shortest=0.001),
        None if when is None else function_of("when", when),
        "compensatable",
        wait,
    )


def plain(what: str, name: str) -> str:
    """A name that is one. Raises InvalidConsumer."""
    try:
        return plain_name(name, what)
    except InvalidRequest as error:
        raise InvalidConsumer(error.detail, field=what, remedy=error.remedy) from error


def function_of(what: str, given: Any) -> Callable[..., Any]:
    """A function that is one. Raises InvalidConsumer."""
    if not callable(given):
        raise InvalidConsumer(f"{what} is {given!r:.80}, no function", field=what, remedy="give a function")
    return given  # type: ignore[no-any-return]
