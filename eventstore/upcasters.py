"""Upcasters: from data of an older schema version to those of the present one, a step at a time.

A step takes what JSON holds (a dict) and returns what the next version holds. A step whose parameter is annotated with
a Struct gets that Struct instead, and any step may return one:

    def in_cents(old: OrderPlacedV1) -> dict: ...
    @event(name="OrderPlaced", version=3, upcasters={1: in_cents, 2: lambda old: {**old, "currency": "EUR"}})

Each step works on data decoded for it alone: what it changes or keeps is nobody else's, and never what is stored.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from eventstore.arguments import told
from eventstore.errors import EventTypeError, InvalidEvent
from eventstore.unsafe_types import refuse_unsafe

Upcaster = Callable[[Any], Any]
_encode = msgspec.json.Encoder().encode


class Step(Struct, frozen=True):
    """From one schema version to the next. `takes` is the Struct that it wants, None for a dict."""

    call: Upcaster
    takes: type[Struct] | None


def chain(name: str, version: int, oldest: int, upcasters: Mapping[int, Upcaster]) -> dict[int, Step]:
    """The steps from `oldest` to `version`. Raises EventTypeError for a gap, a stray step, or what cannot be called
    with the data alone."""
    if not isinstance(upcasters, Mapping):
        raise EventTypeError(
            f"{name}: upcasters is {told(upcasters)}", field="upcasters", remedy="a mapping: upcasters={1: function}"
        )
    wanted = range(oldest, version)
    missing = [n for n in wanted if n not in upcasters]
    strange = [n for n in upcasters if type(n) is not int or n not in wanted]
    if missing or strange:
        raise EventTypeError(
            f"{name} version {version}: {_spelled(wanted, upcasters, strange)}",
            field="upcasters",
            remedy=_remedy(version, missing, strange, oldest),
        )
    return {n: _step(name, n, upcasters[n]) for n in wanted}


def climb(name: str, steps: Mapping[int, Step], stored: int, version: int, data: bytes) -> bytes:
    """The data of schema version `stored` as those of `version`, in JSON. Raises InvalidEvent."""
    if stored > version:
        raise InvalidEvent(
            f"{name}: stored with schema version {stored}, this process knows {version}",
            field="schema_version",
            remedy="deploy the newer code",
        )
    for number in range(stored, version):
        step = steps.get(number)
        if step is None:
            raise InvalidEvent(
                f"{name}: stored with schema version {stored}, no upcaster from {number}",
                field="schema_version",
                remedy="add the upcaster to @event, and lower `oldest` to that version",
            )
        data = _taken(name, number, step, data)
    return data


def _taken(name: str, number: int, step: Step, data: bytes) -> bytes:
    try:
        given = msgspec.json.decode(data) if step.takes is None else msgspec.json.decode(data, type=step.takes)
        made = step.call(given)
        if not isinstance(made, dict | list | Struct):
            raise TypeError(f"it returned {type(made).__name__}, not the data")  # noqa: TRY301 - told like the others
        return _encode(made)
    except Exception as error:  # users' code is asked, and may raise anything
        raise InvalidEvent(
            f"{name}: the upcaster from version {number} failed: {type(error).__name__}: {error}",
            field="data",
            remedy="mend the upcaster; what is stored is untouched",
        ) from error


def _spelled(wanted: range, upcasters: Mapping[int, Upcaster], strange: list[int]) -> str:
    steps = ", ".join(f"{n} to {n + 1}{'' if n in upcasters else ' is missing'}" for n in wanted)
    stray = f"out of place: {', '.join(map(repr, strange))}" if strange else ""
    return "; ".join(part for part in (f"its chain of upcasters: {steps}" if steps else "", stray) if part)


def _remedy(version: int, missing: list[int], strange: list[int], oldest: int) -> str:
    if not missing:
        span = f"{oldest} to {version - 1}" if oldest < version else "none"
        return f"upcasters of version {version} lead from version N to N + 1, here: {span}"
    given = ", ".join(f"{n}: ..." for n in missing)
    return f"upcasters={{{given}}}; or oldest={missing[-1] + 1}, if nothing older was ever stored"


def _step(name: str, number: int, call: Upcaster) -> Step:
    if not callable(call) or inspect.iscoroutinefunction(call):
        raise _unfit(name, number, f"is {'async' if callable(call) else repr(call)}")
    try:
        signature = inspect.signature(call, eval_str=True)
        signature.bind(None)
    except ValueError:  # a builtin that does not tell
        return Step(call, None)
    except TypeError as error:
        raise _unfit(name, number, f"cannot be called with the data alone: {error}") from error
    except NameError as error:
        raise _unfit(name, number, f"has annotations that cannot be told: {error}") from error
    wanted = next(iter(signature.parameters.values())).annotation
    if not (isinstance(wanted, type) and issubclass(wanted, Struct)):
        return Step(call, None)
    refuse_unsafe(wanted, name)
    return Step(call, wanted)


def _unfit(name: str, number: int, why: str) -> EventTypeError:
    return EventTypeError(
        f"{name}: the upcaster from version {number} {why}",
        field="upcasters",
        remedy="a plain function of one argument, the old data, that returns the new",
    )
