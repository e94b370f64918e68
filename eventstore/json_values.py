"""What JSON cannot hold: numbers that are none, and keys that become the same text."""

import math
from collections.abc import Mapping

from msgspec import inspect as types

from eventstore.errors import InvalidEvent


def may_hold_floats(info: types.Type, seen: set[type] | None = None) -> bool:
    """msgspec writes NaN as null; only types that can hold a float need the look."""
    seen = set() if seen is None else seen
    match info:
        case types.StructType() | types.TypedDictType() | types.DataclassType() | types.NamedTupleType():
            if info.cls in seen:
                return False
            seen.add(info.cls)
            return any(may_hold_floats(f.type, seen) for f in info.fields)
        case types.UnionType():
            return any(may_hold_floats(t, seen) for t in info.types)
        case types.TupleType():
            return any(may_hold_floats(t, seen) for t in info.item_types)
        case types.DictType():
            return may_hold_floats(info.key_type, seen) or may_hold_floats(info.value_type, seen)
        case types.CollectionType():
            return may_hold_floats(info.item_type, seen)
        case types.Metadata():
            return may_hold_floats(info.type, seen)
        case _:
            return isinstance(info, types.FloatType | types.AnyType | types.CustomType)


def refuse_what_json_cannot_hold(value: object, name: str, path: str = "data") -> None:
    """Raises InvalidEvent with the path of the value at fault."""
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidEvent(f"{name}: {path} is {value}, which JSON cannot hold", field=path)
    if isinstance(value, Mapping):
        if len({str(key) for key in value}) < len(value):
            raise InvalidEvent(f"{name}: {path} has keys that are the same text in JSON, such as 1 and '1'", field=path)
        for key, item in value.items():
            refuse_what_json_cannot_hold(key, name, path)
            refuse_what_json_cannot_hold(item, name, f"{path}.{key}")
    elif isinstance(value, list | tuple | set | frozenset):
        for place, item in enumerate(value):
            refuse_what_json_cannot_hold(item, name, f"{path}[{place}]")
