"""Names, schema versions and upcasters of the user's events."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from msgspec import inspect as types

from eventstore.envelope import Untyped
from eventstore.errors import EventTypeError, InvalidEvent
from eventstore.names import plain_name

JsonDict = dict[str, Any]
Upcaster = Callable[[JsonDict], JsonDict]
T = TypeVar("T", bound=type[Struct])
MAX_TYPE_BYTES = 255
MAX_SCHEMA_VERSION = 65_535


class EventType(Struct, frozen=True):
    """How a Struct is named in the log. `upcasters[n]` turns data of schema version n into version n + 1."""

    name: str
    version: int
    struct: type[Struct]
    upcasters: Mapping[int, Upcaster]
    may_hold_floats: bool


def event(
    *, name: str | None = None, version: int = 1, upcasters: Mapping[int, Upcaster] | None = None
) -> Callable[[T], T]:
    """Names a Struct for the log. Without it the class name is the type and 1 the schema version.

    @event(name="OrderPlaced", version=2, upcasters={1: lambda old: {**old, "currency": "EUR"}})
    class OrderPlaced(Struct, frozen=True): total: int; currency: str
    """

    def annotate(cls: T) -> T:
        described = _described(cls, name or cls.__name__, version, dict(upcasters or {}))
        cls.__event_type__ = described  # type: ignore[attr-defined]
        return cls

    return annotate


def event_type(cls: type[Struct]) -> EventType:
    """The EventType of a Struct, annotated or not."""
    annotated = cls.__dict__.get("__event_type__")
    if isinstance(annotated, EventType):
        return annotated
    if not (isinstance(cls, type) and issubclass(cls, Struct)):
        raise EventTypeError(f"{cls!r} is not an event", field="types", remedy="define the event as a msgspec Struct")
    return _described(cls, cls.__name__, 1, {})


def _described(cls: type[Struct], name: str, version: int, upcasters: Mapping[int, Upcaster]) -> EventType:
    plain_name(name, "event type")
    if len(name) > MAX_TYPE_BYTES:
        raise EventTypeError(f"event type {name[:40]}... is over {MAX_TYPE_BYTES} bytes", field="name")
    if not 1 <= version <= MAX_SCHEMA_VERSION:
        raise EventTypeError(f"{name}: schema version {version} is not in 1..{MAX_SCHEMA_VERSION}", field="version")
    missing = sorted(set(range(min(upcasters, default=version), version)) - set(upcasters))
    strange = sorted(v for v in upcasters if not 1 <= v < version)
    if missing or strange:
        raise EventTypeError(
            f"{name} version {version}: upcasters missing for {missing}, out of place {strange}",
            field="upcasters",
            remedy="give one upcaster for each version from the oldest stored one to the one before the present",
        )
    return EventType(name, version, cls, upcasters, _may_hold_floats(_info(cls, name), set()))


def _info(cls: type[Struct], name: str) -> types.Type:
    try:
        return types.type_info(cls)
    except (NameError, TypeError) as error:
        raise EventTypeError(
            f"the fields of {name} cannot be told: {error}",
            field="types",
            remedy="define what its annotations name where the Struct is defined, as types that msgspec knows",
        ) from error


def _may_hold_floats(info: types.Type, seen: set[type]) -> bool:
    """msgspec writes NaN as null; only types that can hold a float need the look."""
    match info:
        case types.StructType() | types.TypedDictType() | types.DataclassType() | types.NamedTupleType():
            if info.cls in seen:
                return False
            seen.add(info.cls)
            return any(_may_hold_floats(f.type, seen) for f in info.fields)
        case types.UnionType():
            return any(_may_hold_floats(t, seen) for t in info.types)
        case types.TupleType():
            return any(_may_hold_floats(t, seen) for t in info.item_types)
        case types.DictType():
            return _may_hold_floats(info.key_type, seen) or _may_hold_floats(info.value_type, seen)
        case types.CollectionType():
            return _may_hold_floats(info.item_type, seen)
        case types.Metadata():
            return _may_hold_floats(info.type, seen)
        case _:
            return isinstance(info, types.FloatType | types.AnyType | types.CustomType)


class EventTypes:
    """The types one store knows. Unknown ones read as plain dicts; a strict store does not append them."""

    def __init__(self, structs: Iterable[type[Struct]] = (), *, strict: bool = False) -> None:
        self._strict = strict
        self._by_name: dict[str, EventType] = {}
        self._by_struct: dict[type, EventType] = {}
        self._encode = msgspec.json.Encoder().encode
        for struct in structs:
            self.add(struct)

    def __iter__(self) -> Iterator[EventType]:
        return iter(self._by_name.values())

    def named(self, name: str) -> EventType | None:
        return self._by_name.get(name)

    def add(self, struct: type[Struct]) -> EventType:
        known = self._by_struct.get(struct)
        if known is not None:
            return known
        found = event_type(struct)
        other = self._by_name.get(found.name)
        if other is not None:
            raise EventTypeError(
                f"{found.name} names both {other.struct.__qualname__} and {struct.__qualname__}",
                field="types",
                remedy="give one of them another name: @event(name=...)",
            )
        self._by_name[found.name] = self._by_struct[struct] = found
        return found

    def encode(self, data: object) -> tuple[str, int, bytes]:
        """Type name, schema version and JSON of an event's data. Raises InvalidEvent."""
        if isinstance(data, Untyped):
            return self._encode_untyped(data)
        if not isinstance(data, Struct):
            raise InvalidEvent(
                f"{type(data).__name__} is not an event",
                field="events",
                remedy="append a msgspec Struct; Untyped(type, data) is for data without one",
            )
        found = self._by_struct.get(type(data)) or self.add(type(data))
        encoded = self._to_json(data, found.name, floats=found.may_hold_floats)
        self._must_be_readable(found.name, found.version, encoded)
        return found.name, found.version, encoded

    def _encode_untyped(self, event: Untyped) -> tuple[str, int, bytes]:
        plain_name(event.type, "event type")
        version = event.schema_version
        if len(event.type) > MAX_TYPE_BYTES or not isinstance(version, int) or not 1 <= version <= MAX_SCHEMA_VERSION:
            raise InvalidEvent(f"type {event.type[:40]!r}, schema version {event.schema_version}", field="type")
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
                remedy="give its Struct to `types`",
            )

    def _to_json(self, data: object, name: str, *, floats: bool) -> bytes:
        try:
            encoded = self._encode(data)
            if floats:
                _refuse_what_json_cannot_hold(msgspec.to_builtins(data), name)
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
        found = self._by_name.get(name)
        try:
            if found is None:
                return msgspec.json.decode(data)
            if schema_version == found.version:
                return msgspec.json.decode(data, type=found.struct)
            return self._upcast(found, schema_version, data)
        except InvalidEvent:
            raise
        except Exception as error:  # the user's types are asked, and may raise anything
            raise InvalidEvent(
                f"{name} version {schema_version} does not decode: {_said(error)}", field="data"
            ) from error

    def _upcast(self, found: EventType, schema_version: int, data: bytes) -> object:
        value = msgspec.json.decode(data)
        for version in range(schema_version, found.version):
            upcaster = found.upcasters.get(version)
            if upcaster is None:
                raise InvalidEvent(
                    f"{found.name}: stored with schema version {schema_version}, no upcaster from {version}",
                    field="schema_version",
                    remedy="add the upcaster to @event",
                )
            value = upcaster(value)
        if schema_version > found.version:
            raise InvalidEvent(
                f"{found.name}: stored with schema version {schema_version}, this process knows {found.version}",
                field="schema_version",
                remedy="deploy the newer code",
            )
        return msgspec.convert(value, type=found.struct)


def _said(error: Exception) -> str:
    """A KeyError says no more than the key."""
    return str(error) if isinstance(error, msgspec.MsgspecError | ValueError) else f"{type(error).__name__}: {error}"


def _refuse_what_json_cannot_hold(value: object, name: str, path: str = "data") -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidEvent(f"{name}: {path} is {value}, which JSON cannot hold", field=path)
    if isinstance(value, Mapping):
        if len({str(key) for key in value}) < len(value):
            raise InvalidEvent(f"{name}: {path} has keys that are the same text in JSON, such as 1 and '1'", field=path)
        for key, item in value.items():
            _refuse_what_json_cannot_hold(key, name, path)
            _refuse_what_json_cannot_hold(item, name, f"{path}.{key}")
    elif isinstance(value, list | tuple | set | frozenset):
        for place, item in enumerate(value):
            _refuse_what_json_cannot_hold(item, name, f"{path}[{place}]")
