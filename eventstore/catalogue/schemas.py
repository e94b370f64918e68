"""The JSON Schema of a Struct: what its events hold, so precisely that two releases can be compared.

msgspec's own generator leaves out what decides here: that a text is a datetime without zone, that keys are numbers,
what the places of an array-like Struct are called. So this one walks `msgspec.inspect` and writes that too:

    format: date-time, naive-date-time, any-date-time      a datetime with zone, without, either; so for time
    format: duration, date, uuid, decimal
    minBytes, maxBytes                                     of bytes, which are base64 in JSON
    propertyNames: {"format": "integer"}                   keys that are numbers in Python
    title                                                  of a class, and of a place in an array
    omitDefaults: true                                     what has its default is not stored
"""

from types import UnionType
from typing import Any, NoReturn, get_origin

import msgspec
from msgspec import Struct
from msgspec import inspect as types

from eventstore.errors import EventTypeError

Schema = dict[str, Any]
_PLAIN: dict[type[types.Type], Schema] = {
    types.AnyType: {},
    types.RawType: {},
    types.NoneType: {"type": "null"},
    types.BoolType: {"type": "boolean"},
    types.DateType: {"type": "string", "format": "date"},
    types.TimeDeltaType: {"type": "string", "format": "duration"},
    types.UUIDType: {"type": "string", "format": "uuid"},
    types.DecimalType: {"type": "string", "format": "decimal"},
}
_ZONES = {None: "any-", True: "", False: "naive-"}


def schema_of(struct: type[Struct], name: str) -> Schema:
    """The schema of a Struct's JSON, classes in `$defs`. `name` is what errors call the type. Raises EventTypeError if
    a field has a type without JSON form."""
    walk = _Walk(name)
    root = walk.schema(types.type_info(struct), "")
    return {**root, "$defs": dict(sorted(walk.defs.items()))}


class _Walk:
    """One Struct and all that it is made of. `path` is where in it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._refs: dict[object, str] = {}
        self.defs: dict[str, Schema] = {}

    def schema(self, info: types.Type, path: str) -> Schema:
        plain = _PLAIN.get(type(info))
        if plain is not None:
            return dict(plain)
        match info:
            case types.Metadata():
                return self.schema(info.type, path)
            case types.LiteralType():
                return {"enum": sorted(info.values, key=repr)}
            case types.UnionType():
                return self._union(info, path)
            case types.TupleType():
                places = [self.schema(each, f"{path}[{n}]") for n, each in enumerate(info.item_types)]
                return _array(places, required=len(places), closed=True)
            case types.CollectionType():
                return self._collection(info, path)
            case types.DictType():
                return self._map(info, path)
            case types.CustomType() if info.cls is object:
                return {}
            case types.EnumType():
                return self._defined(info, lambda: {"enum": sorted((e.value for e in info.cls), key=repr)})
            case types.StructType() | types.DataclassType() | types.TypedDictType() | types.NamedTupleType():
                return self._defined(info, lambda: self._record(info, path))
        return _bounded(info) or self._without_form(info, path)

    def _without_form(self, info: types.Type, path: str) -> NoReturn:
        raise EventTypeError(
            f"{self._name}: {path.removeprefix('.')} is of type {_class_of(info)}, which has no JSON form",
            field="types",
            remedy="give the field a type that msgspec reads from JSON",
        )

    def _defined(self, info: Any, make: Any) -> Schema:
        """A class stands once in `$defs`, also one that contains itself."""
        ref = self._refs.get(info.cls)
        if ref is None:
            plain = ref = _class_name(info.cls)
            number = 1
            while ref in self.defs:
                number += 1
                ref = f"{plain}_{number}"
            self._refs[info.cls] = ref
            self.defs[ref] = {}
            self.defs[ref] = {"title": plain, **make()}
        return {"$ref": f"#/$defs/{ref}"}

    def _record(self, info: Any, path: str) -> Schema:
        fields = info.fields
        tag = getattr(info, "tag_field", None)
        named = {
            getattr(f, "encode_name", f.name): {**self.schema(f.type, f"{path}.{f.name}"), **_default(f)}
            for f in fields
        }
        required = [name for name, f in zip(named, fields, strict=True) if f.required]
        if tag is not None:
            named, required = {tag: {"enum": [info.tag]}, **named}, [tag, *required]
        closed = bool(getattr(info, "forbid_unknown_fields", False))
        if isinstance(info, types.NamedTupleType) or getattr(info, "array_like", False):
            places = [{"title": name, **schema} for name, schema in named.items()]
            return _array(places, required=len(required), closed=closed or isinstance(info, types.NamedTupleType))
        found: Schema = {"type": "object", "properties": named, "required": required}
        struct = get_origin(info.cls) or info.cls
        if getattr(getattr(struct, "__struct_config__", None), "omit_defaults", False):
            found["omitDefaults"] = True
        return {**found, "additionalProperties": False} if closed else found

    def _union(self, info: types.UnionType, path: str) -> Schema:
        if any(isinstance(each, types.AnyType) for each in info.types):
            return {}
        # msgspec reads no Raw as one of several types
        readable = [each for each in info.types if not isinstance(each, types.RawType)]
        found = [self.schema(each, path) for each in readable]
        return found[0] if len(found) == 1 else {"anyOf": found}

    def _collection(self, info: types.CollectionType, path: str) -> Schema:
        found: Schema = {"type": "array", "items": self.schema(info.item_type, f"{path}[]")}
        if isinstance(info, types.SetType | types.FrozenSetType):
            found["uniqueItems"] = True
        return _without_none({**found, "minItems": info.min_length, "maxItems": info.max_length})

    def _map(self, info: types.DictType, path: str) -> Schema:
        keys = _as_key(self.schema(info.key_type, f"{path}.keys()"))
        return _without_none(
            {
                "type": "object",
                "additionalProperties": self.schema(info.value_type, f"{path}.*"),
                "propertyNames": keys or None,
                "minProperties": info.min_length,
                "maxProperties": info.max_length,
            }
        )


def _bounded(info: types.Type) -> Schema | None:
    """Of a single value that may have bounds or a zone."""
    match info:
        case types.IntType() | types.FloatType():
            return _number(info)
        case types.StrType():
            sizes = {"minLength": info.min_length, "maxLength": info.max_length, "pattern": info.pattern}
            return _without_none({"type": "string", **sizes})
        case types.BytesType() | types.ByteArrayType() | types.MemoryViewType():
            sizes = {"minBytes": info.min_length, "maxBytes": info.max_length}
            return _without_none({"type": "string", "contentEncoding": "base64", **sizes})
        case types.DateTimeType():
            return {"type": "string", "format": f"{_ZONES[info.tz]}date-time"}
        case types.TimeType():
            return {"type": "string", "format": f"{_ZONES[info.tz]}time"}
    return None


def _number(info: types.IntType | types.FloatType) -> Schema:
    if isinstance(info, types.FloatType):
        bounds: Schema = {"minimum": info.ge, "exclusiveMinimum": info.gt, "maximum": info.le}
        return _without_none({"type": "number", **bounds, "exclusiveMaximum": info.lt, "multipleOf": info.multiple_of})
    least = info.ge if info.gt is None else info.gt + 1
    most = info.le if info.lt is None else info.lt - 1
    return _without_none({"type": "integer", "minimum": least, "maximum": most, "multipleOf": info.multiple_of})


def _array(places: list[Schema], *, required: int, closed: bool) -> Schema:
    found: Schema = {"type": "array", "prefixItems": places, "minItems": required}
    return {**found, "maxItems": len(places), "items": False} if closed else found


def _as_key(schema: Schema) -> Schema:
    """The schema of a key: in JSON a text, whatever it is in Python."""
    if "anyOf" in schema:
        return {"anyOf": [_as_key(each) for each in schema["anyOf"]]}
    if schema.get("type") in ("integer", "number"):
        return {**schema, "type": "string", "format": schema["type"]}
    return {} if schema == {"type": "string"} else schema


def _default(field: types.Field) -> Schema:
    """What a missing field is read as, where that can be told."""
    if field.default is not msgspec.NODEFAULT:
        value = field.default
    elif field.default_factory in (list, dict, set, frozenset, tuple, bytearray):
        value = field.default_factory()
    else:
        return {}
    try:  # items of sets would be in another order in each process
        return {"default": msgspec.json.decode(msgspec.json.encode(value, order="deterministic"))}
    except (TypeError, ValueError, msgspec.MsgspecError):
        return {}


def _class_name(cls: object) -> str:
    """`Page[int]` for a generic class, `int | str` for a union."""
    arguments = getattr(cls, "__args__", ())
    if isinstance(cls, UnionType):
        return " | ".join(map(_class_name, arguments))
    name = str(getattr(cls, "__name__", cls))
    return f"{name}[{', '.join(_class_name(each) for each in arguments)}]" if arguments else name


def _class_of(info: types.Type) -> str:
    cls = getattr(info, "cls", None)
    return f"{cls.__module__}.{cls.__qualname__}" if isinstance(cls, type) else type(info).__name__.removesuffix("Type")


def _without_none(schema: Schema) -> Schema:
    return {name: value for name, value in schema.items() if value is not None}
