"""Names, schema versions and upcasters of the user's events."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import partial
from typing import TypeVar, overload

import msgspec
from msgspec import Struct
from msgspec import inspect as types

from eventstore import upcasters as chains
from eventstore.arguments import told
from eventstore.envelope import Untyped
from eventstore.errors import EventTypeError, InvalidEvent
from eventstore.json_values import may_hold_floats, refuse_what_json_cannot_hold
from eventstore.names import plain_name
from eventstore.unsafe_types import refuse_unsafe
from eventstore.upcasters import Step, Upcaster

T = TypeVar("T", bound=type[Struct])
Read = Callable[[bytes], object]
Kind = tuple[str, int, Read]
_plain: Read = msgspec.json.Decoder().decode
MAX_TYPE_BYTES = 255
MAX_SCHEMA_VERSION = 65_535


class EventType(Struct, frozen=True):
    """How a Struct is named in the log. `upcasters[n]` turns data of schema version n into version n + 1; there is one
    for each version from `oldest` on. `formerly` are names under which events of the type were stored."""

    name: str
    version: int
    struct: type[Struct]
    upcasters: Mapping[int, Step]
    may_hold_floats: bool
    oldest: int = 1
    formerly: tuple[str, ...] = ()


@overload
def event(cls: T, /) -> T: ...


@overload
def event(
    *,
    name: str | None = None,
    version: int = 1,
    upcasters: Mapping[int, Upcaster] | None = None,
    oldest: int = 1,
    formerly: Iterable[str] = (),
) -> Callable[[T], T]: ...


def event(
    cls: T | None = None,
    /,
    *,
    name: str | None = None,
    version: int = 1,
    upcasters: Mapping[int, Upcaster] | None = None,
    oldest: int = 1,
    formerly: Iterable[str] = (),
) -> T | Callable[[T], T]:
    """Names a Struct for the log. Without it, and by a bare `@event`, the class name is the type and 1 the schema
    version.

    @event(name="OrderPlaced", version=2, upcasters={1: lambda old: {**old, "currency": "EUR"}})
    class OrderPlaced(Struct, frozen=True): total: int; currency: str

    Each version from `oldest` up to the present one needs its upcaster; give `oldest` if no event older than that was
    ever stored. `formerly` are names that the type had before: versions count on across a rename, events stored under
    those names are read as this type, and new ones are stored under `name`. Raises EventTypeError."""

    def annotate(cls: T) -> T:
        _must_be_struct(cls)
        stored_as = cls.__name__ if name is None else name
        described = _described(cls, stored_as, version, {} if upcasters is None else upcasters, oldest, formerly)
        cls.__event_type__ = described  # type: ignore[attr-defined]
        return cls

    return annotate if cls is None else annotate(cls)


def event_type(cls: type[Struct]) -> EventType:
    """The EventType of a Struct, annotated or not."""
    _must_be_struct(cls)
    annotated = cls.__dict__.get("__event_type__")
    return annotated if isinstance(annotated, EventType) else _described(cls, cls.__name__, 1, {})


def _must_be_struct(cls: object) -> None:
    if not isinstance(cls, type):
        raise EventTypeError(
            f"{cls!r} is no event type, but {told(cls)}",
            field="types",
            remedy="give the class of the event; @event(name=...) names it otherwise",
        )
    if not issubclass(cls, Struct) or cls is Struct:
        raise EventTypeError(
            f"{cls.__name__} is no event type",
            field="types",
            remedy=f"define it as a msgspec Struct: class {cls.__name__}(Struct, frozen=True)",
        )


def _described(
    cls: type[Struct],
    name: str,
    version: int,
    upcasters: Mapping[int, Upcaster],
    oldest: int = 1,
    formerly: Iterable[str] = (),
) -> EventType:
    _check_name(name)
    if type(version) is not int or not 1 <= version <= MAX_SCHEMA_VERSION:
        raise EventTypeError(
            f"{name}: the schema version {version!r} is none",
            field="version",
            remedy=f"a whole number from 1 to {MAX_SCHEMA_VERSION}",
        )
    if type(oldest) is not int or not 1 <= oldest <= version:
        raise EventTypeError(
            f"{name}: oldest={oldest!r} is no version up to the present one",
            field="oldest",
            remedy=f"a whole number from 1 to {version}: the lowest that was ever stored",
        )
    steps = chains.chain(name, version, oldest, upcasters)
    former = _former_names(name, formerly)
    return EventType(name, version, cls, steps, may_hold_floats(_info(cls, name)), oldest, former)


def _check_name(name: str) -> None:
    plain_name(name, "event type")
    if len(name) > MAX_TYPE_BYTES:
        raise EventTypeError(
            f"event type {name[:40]}... is over {MAX_TYPE_BYTES} bytes",
            field="name",
            remedy=f"a name of at most {MAX_TYPE_BYTES} letters",
        )


def _former_names(name: str, formerly: Iterable[str]) -> tuple[str, ...]:
    if isinstance(formerly, str | bytes) or not isinstance(formerly, Iterable):
        raise EventTypeError(
            f"{name}: formerly={formerly!r} is no list of names", field="formerly", remedy='("A", "B")'
        )
    former = tuple(formerly)
    for each in former:
        _check_name(each)
        if each == name or former.count(each) > 1:
            raise EventTypeError(
                f"{name}: `formerly` names {each}, {'the present name' if each == name else 'twice'}",
                field="formerly",
                remedy="each former name once, the present one not at all",
            )
    return former


def _info(cls: type[Struct], name: str) -> types.Type:
    refuse_unsafe(cls, name)
    try:
        return types.type_info(cls)
    except (NameError, TypeError) as error:
        raise EventTypeError(
            f"the fields of {name} cannot be told: {error}",
            field="types",
            remedy="define what its annotations name where the Struct is defined, as types that msgspec knows",
        ) from error


class EventTypes:
    """The types one store knows. Unknown ones read as plain dicts; a strict store does not append them: neither data
    without a Struct, nor a Struct that it was not given (the class of a command, say)."""

    def __init__(self, structs: Iterable[type[Struct]] = (), *, strict: bool = False) -> None:
        self._strict = strict
        self._by_name: dict[str, EventType] = {}  # former names, too
        self._by_struct: dict[type, EventType] = {}
        self._encode = msgspec.json.Encoder().encode
        self._present: dict[str, Kind] = {}
        self._plain: dict[type, Kind] = {}  # of Structs that can hold no float, once one was encoded
        if isinstance(structs, type | str | bytes) or not isinstance(structs, Iterable):
            raise EventTypeError(
                f"types is {told(structs)}", field="types", remedy="give a list of Structs: types=[OrderPlaced]"
            )
        for struct in structs:
            self.add(struct)

    def __iter__(self) -> Iterator[EventType]:
        return iter(self._by_struct.values())

    def named(self, name: str) -> EventType | None:
        """The type that has this name, or had it."""
        return self._by_name.get(name)

    def did_you_mean(self, name: str) -> str:
        """The end of a sentence that refuses a name: the known one that is most like it, if any is."""
        near = get_close_matches(name, self._by_name, n=1)
        return f"; did you mean {near[0]}?" if near else ""

    def names_of(self, name: str) -> tuple[str, ...]:
        """All names under which events of the type are stored that has this name, or had it."""
        found = self._by_name.get(name)
        return (name,) if found is None else (found.name, *found.formerly)

    def add(self, struct: type[Struct]) -> EventType:
        """Takes a type in. Raises EventTypeError if it contradicts one that is known."""
        known = self._by_struct.get(struct)
        if known is not None:
            return known
        found = event_type(struct)
        for name in (found.name, *found.formerly):
            other = self._by_name.get(name)
            if other is not None:
                raise _both(name, other, found)
        self._by_struct[struct] = found
        self._by_name |= dict.fromkeys((found.name, *found.formerly), found)
        return found

    def add_json(self, struct: type[Struct]) -> EventType:
        """`add`, for a type whose values all come from JSON: nothing that JSON cannot hold is looked for in them, which
        takes longer than all the rest of encoding them."""
        found = self.add(struct)
        self._plain[struct] = self.kind(found.name, found.version)
        return found

    def encode(self, data: object) -> tuple[str, int, bytes]:
        """Type name, schema version and JSON of an event's data. Raises InvalidEvent."""
        plain = self._plain.get(type(data))
        if plain is None:
            return self._encode_with_care(data)
        try:
            encoded = self._encode(data)
            plain[2](encoded)
        except Exception:  # noqa: BLE001 - the user's types are asked; the careful way tells what is wrong
            return self._encode_with_care(data)
        return plain[0], plain[1], encoded

    def _encode_with_care(self, data: object) -> tuple[str, int, bytes]:
        """Takes 1.3 us more than it takes to write JSON and to read it back."""
        if isinstance(data, Untyped):
            return self._encode_untyped(data)
        if not isinstance(data, Struct):
            raise InvalidEvent(
                f"{told(data).removeprefix('of type ')} is not an event",
                field="events",
                remedy="append a msgspec Struct; Untyped(type, data) is for data without one",
            )
        found = self._by_struct.get(type(data))
        if found is None:
            self._refuse_if_strict(type(data).__name__)
            found = self.add(type(data))
        encoded = self._to_json(data, found.name, floats=found.may_hold_floats)
        self._must_be_readable(found.name, found.version, encoded)
        if not found.may_hold_floats:
            self._plain[found.struct] = self.kind(found.name, found.version)
        return found.name, found.version, encoded

    def _encode_untyped(self, event: Untyped) -> tuple[str, int, bytes]:
        plain_name(event.type, "event type")
        version = event.schema_version
        if len(event.type) > MAX_TYPE_BYTES or not isinstance(version, int) or not 1 <= version <= MAX_SCHEMA_VERSION:
            raise InvalidEvent(
                f"type {event.type[:40]!r}, schema version {event.schema_version!r}",
                field="type",
                remedy=f"a name of at most {MAX_TYPE_BYTES} letters, and a version from 1 to {MAX_SCHEMA_VERSION}",
            )
        if self.named(event.type) is None:
            self._refuse_if_strict(event.type)
        encoded = self._to_json(event.data, event.type, floats=True)
        self._must_be_readable(event.type, event.schema_version, encoded)
        return event.type, event.schema_version, encoded

    def _refuse_if_strict(self, name: str) -> None:
        if self._strict:
            raise InvalidEvent(
                f"{name} is not a known type, and strict_types is set",
                field="type",
                remedy=f"give its Struct to `types`{self.did_you_mean(name)}",
            )

    def _to_json(self, data: object, name: str, *, floats: bool) -> bytes:
        try:
            encoded = self._encode(data)
            if floats:
                refuse_what_json_cannot_hold(msgspec.to_builtins(data), name)
        except InvalidEvent:
            raise
        except Exception as error:  # the user's types are asked, and may raise anything
            raise InvalidEvent(f"{name} cannot be written as JSON: {_said(error)}", field="data") from error
        return encoded

    def _must_be_readable(self, name: str, schema_version: int, data: bytes) -> None:
        """msgspec checks types when it reads, never when it writes: what is of another type than its field would be
        an event that nobody can read any more. Costs 0.2 to 0.5 us."""
        try:
            self.decode(name, schema_version, data)
        except InvalidEvent as error:
            error.remedy = error.remedy or "give every field a value of its type"
            raise

    def decode(self, name: str, schema_version: int, data: bytes) -> object:
        """The Struct, by way of the upcasters; a dict for a type that is not known. Raises InvalidEvent, whatever an
        upcaster or a `__post_init__` raises."""
        try:
            return self.kind(name, schema_version)[2](data)
        except InvalidEvent:
            raise
        except Exception as error:  # the user's types are asked, and may raise anything
            raise undecodable(name, schema_version, error) from error

    def kind(self, name: str, schema_version: int) -> Kind:
        """For readers of many events: the name and schema version that those of this kind are shown under, and what
        makes their data of JSON, as `decode` does. It raises what the user's types raise."""
        present = self._present.get(name)
        if present is not None and present[1] == schema_version:
            return present
        found = self._by_name.get(name)
        if found is None:
            return name, schema_version, _plain
        if schema_version == found.version:
            # kept, for `msgspec.json.decode(data, type=...)` takes 0.15 us longer than a decoder
            self._present[name] = found.name, found.version, msgspec.json.Decoder(found.struct).decode
            return self._present[name]
        return found.name, found.version, partial(self._upcast, found, schema_version)

    def _upcast(self, found: EventType, schema_version: int, data: bytes) -> object:
        data = chains.climb(found.name, found.upcasters, schema_version, found.version, data)
        return msgspec.json.decode(data, type=found.struct)


def undecodable(name: str, schema_version: int, error: Exception) -> InvalidEvent:
    """What is to be raised for what the user's types raised."""
    return InvalidEvent(f"{name} version {schema_version} does not decode: {_said(error)}", field="data")


def _both(name: str, one: EventType, other: EventType) -> EventTypeError:
    """Two types claim a name."""
    structs = f"{one.struct.__qualname__} and {other.struct.__qualname__}"
    if one.name == other.name:
        return EventTypeError(
            f"{name} names both {structs}",
            field="types",
            remedy="give one of them another name: @event(name=...)",
        )
    if one.name in other.formerly and other.name in one.formerly:
        what = f"a cycle of renames: {one.name} was {other.name}, which was {one.name}"
    elif name in (one.name, other.name):
        what = f"{name} is the name of one type and a former name of another"
    else:
        what = f"{name} is a former name of two types, {one.name} and {other.name}"
    return EventTypeError(
        f"{what} ({structs})",
        field="formerly",
        remedy="a name belongs to one type for ever, for events are stored under it: take it out of one `formerly`",
    )


def _said(error: Exception) -> str:
    """A KeyError says no more than the key."""
    return str(error) if isinstance(error, msgspec.MsgspecError | ValueError) else f"{type(error).__name__}: {error}"
