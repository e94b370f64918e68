"""Fold: how state is made from the events of a stream.

    class Account(Struct, frozen=True):
        balance: int = 0

    def apply(state: Account, event: Deposited | Withdrawn) -> Account:
        match event:
            case Deposited(amount):
                return Account(state.balance + amount)
            case Withdrawn(amount):
                return Account(state.balance - amount)
            case _:
                return state

    account = Fold(Account(), apply, snapshot_every=100)

`apply` gets the data of an event and nothing else: state must be told before an event is recorded (`writing.state`) and
without a log (`given`). What a decision needs to know, time or actor, belongs into the data. It gets every event of the
stream, by way of the upcasters; one of a type that this process has no Struct for comes as `Untyped`.
"""

import copy
import inspect
import typing
from collections.abc import Callable, Iterator
from functools import cached_property
from types import NoneType, UnionType
from typing import Any, Generic, TypeVar, Union

import msgspec
from msgspec import Struct

from eventstore import fingerprint
from eventstore.arguments import at_least, must_be_function, whole_number
from eventstore.envelope import Untyped
from eventstore.errors import InvalidRequest
from eventstore.event_types import EventTypes, event_type
from eventstore.unsafe_types import refuse_unsafe

S = TypeVar("S")
_UNKNOWN = object()


class Fold(Generic[S]):
    """How state is made: it begins as `initial`, and `apply(state, event)` returns the state after one more event.

    `version` says what the fold means: raise it when a rule changes, so that no snapshot of the old rule is used. Most
    changes are noticed without it: another `initial`, other fields or types of the state, other code of `apply` and of
    the functions of its package that it names, other methods of the state and the events, other versions of the events
    in its annotation. Not noticed is what it reaches through a module or an object.

    With `snapshot_every=100` a load that had to fold 100 events or more leaves a snapshot. A stream has one, the latest
    of any fold: let one fold of a stream take snapshots. The state must then be of a type that msgspec knows:
    `state_type`, else what `apply` says it returns, else the type of `initial`. The Structs in the annotation of the
    event become known to the store that loads. Raises InvalidRequest."""

    def __init__(
        self,
        initial: S,
        apply: Callable[[S, Any], S],
        *,
        version: int = 1,
        snapshot_every: int | None = None,
        state_type: Any = None,
    ) -> None:
        must_be_function("apply(state, event)", apply)
        at_least(1, version=version, snapshot_every=snapshot_every)
        whole_number("a whole number from 1", version=version)
        returned, taken = _annotated(apply)
        self._initial, self._apply = initial, apply
        self.version, self.snapshot_every = version, snapshot_every
        self.state_type = _state_type(state_type, returned, initial)
        self.event_types = tuple(dict.fromkeys(_structs(taken)))
        self._may_be_none = initial is None or self.state_type in (Any, object) or NoneType in _members(self.state_type)
        # not `self.unfit`: functions that stand below this in the module would belong to no identity
        unfit = None if snapshot_every is None else self._tell()[1]
        if unfit is not None:
            raise InvalidRequest(
                f"this state cannot be kept in a snapshot: {unfit}",
                field="snapshot_every",
                remedy="use types that msgspec knows, such as Structs, and say state_type=...; or no snapshot_every",
            )

    def __repr__(self) -> str:
        return f"Fold({self._initial!r}, {getattr(self._apply, '__qualname__', self._apply)}, version={self.version})"

    def start(self) -> S:
        """The state of a stream without events: a copy, which an `apply` that changes what it gets may change."""
        return copy.deepcopy(self._initial)

    def step(self, state: S, event: object, name: str, version: int, where: str) -> S:
        """The state after one more event. What `apply` raises goes to the caller, with a note that tells the event."""
        try:
            after = self._apply(state, event)
        except Exception as error:
            error.add_note(f"while {self!r} took in {name}, version {version} of {where}")
            raise
        if after is None and not self._may_be_none:
            raise InvalidRequest(
                f"{self!r} returned None for {name}, version {version} of {where}",
                field="apply",
                remedy="return the state for every event, also for one that changes nothing: `case _: return state`",
            )
        return after

    def know(self, types: EventTypes) -> None:
        """Makes its events known to a store. Of a class that others derive from it is they that count; where two
        modules call theirs `Event`, it has no name in the log. Raises EventTypeError."""
        for struct in self.event_types:
            if not struct.__subclasses__() or types.named(event_type(struct).name) is None:
                types.add(struct)

    @property
    def unfit(self) -> str | None:
        """Why its state cannot be kept in a snapshot; None if it can."""
        return self._told[1]

    @property
    def identity(self) -> str:
        """What a snapshot of this fold is known by; empty if it cannot have any."""
        return self._told[0]

    @cached_property
    def decode(self) -> Callable[[bytes], S]:
        """A state from MessagePack. Raises what msgspec raises, and what the types of the user do."""
        return msgspec.msgpack.Decoder(self.state_type).decode

    @cached_property
    def decode_json(self) -> Callable[[bytes], S]:
        """A state from JSON, as `decode`; TypeError for a type that JSON does not hold."""
        return msgspec.json.Decoder(self.state_type).decode

    @cached_property
    def _told(self) -> tuple[str, str | None]:
        return self._tell()

    def _tell(self) -> tuple[str, str | None]:
        """Identity, and why there is none."""
        if self.state_type is NoneType:
            return "", "initial is None, and nothing tells the type of later states"
        try:
            refuse_unsafe(self.state_type, "the state")
            self.decode  # noqa: B018 - makes the decoder, which asks whether it can decode such a type
            return f"{self.version}-{fingerprint.digest(*self._texts())}", None
        except Exception as error:  # noqa: BLE001 - the types of the user are asked, and may raise anything
            return "", str(error) or type(error).__name__

    def _texts(self) -> Iterator[str]:
        yield fingerprint.of_type(self.state_type)
        yield fingerprint.of_value(self._initial)
        yield fingerprint.of_function(self._apply)
        for known in map(event_type, self.event_types):
            yield f"{known.name} {known.version} {fingerprint.of_type(known.struct)}"
            yield from (fingerprint.of_function(step.call) for step in known.upcasters.values())


def data_of(types: EventTypes, name: str, schema_version: int, data: object) -> object:
    """What a fold gets of an event: a dict does not tell its type."""
    return data if types.named(name) is not None else Untyped(name, data, schema_version)


def _annotated(apply: Callable[..., Any]) -> tuple[Any, Any]:
    """What `apply` says that it returns, and what its second parameter is; `_UNKNOWN` for what it does not say."""
    try:
        hints = typing.get_type_hints(apply)
        second = [*inspect.signature(apply).parameters][1:2]
    except (NameError, TypeError, ValueError):  # names that exist for type checkers only; no function of Python
        return _UNKNOWN, _UNKNOWN
    return hints.get("return", _UNKNOWN), hints.get(second[0], _UNKNOWN) if second else _UNKNOWN


def _state_type(given: Any, returned: Any, initial: object) -> Any:
    if given is not None:
        return given
    return type(initial) if returned is _UNKNOWN or isinstance(returned, TypeVar) else returned


def _structs(annotation: Any) -> Iterator[type[Struct]]:
    """The Structs among the members of a union, and those that derive from them."""
    for member in _members(annotation):
        if isinstance(member, type) and issubclass(member, Struct) and member is not Struct and member is not Untyped:
            yield from _derived(member)


def _derived(struct: type[Struct]) -> Iterator[type[Struct]]:
    for derived in struct.__subclasses__():
        yield from _derived(derived)
    yield struct


def _members(annotation: Any) -> tuple[Any, ...]:
    plain = getattr(annotation, "__value__", annotation)  # of `type Event = ...`
    if typing.get_origin(plain) in (Union, UnionType):
        return tuple(inner for member in typing.get_args(plain) for inner in _members(member))
    return (plain,)
