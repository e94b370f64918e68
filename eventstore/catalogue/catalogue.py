"""The catalogue of event types: what a release stores, in a file that the next release is compared with.

The file is JSON with one JSON Schema a type, sorted and indented, so that a review shows what changes.
"""

import json
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from eventstore.catalogue.alternatives import spell
from eventstore.catalogue.schemas import Schema, schema_of
from eventstore.errors import InvalidRequest
from eventstore.event_types import EventType

FORMAT = 1
REMEDY = (
    "take it from version control; or remove it, and write it anew from the code that stored the events: "
    "eventstore types write FILE --app MODULE"
)


class TypeEntry(Struct, frozen=True):
    """One event type. `schema` is of its present `version`, upcasters lead there from each version since `oldest`."""

    name: str
    version: int
    schema: Schema
    oldest: int = 1
    formerly: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        return frozenset((self.name, *self.formerly))


class Catalogue(Struct, frozen=True):
    """All types of a release, by name."""

    catalogue: int
    types: tuple[TypeEntry, ...]


def describe(types: Iterable[EventType]) -> Catalogue:
    """The catalogue of types. Raises EventTypeError for one that cannot be stored."""
    found = [
        TypeEntry(each.name, each.version, schema_of(each.struct, each.name), each.oldest, tuple(sorted(each.formerly)))
        for each in types
    ]
    return Catalogue(FORMAT, tuple(sorted(found, key=lambda each: each.name)))


def fields_of(entry: TypeEntry) -> dict[str, str]:
    """The fields of a type, by name, as people write types; one that may be left out ends with its default."""
    defs = entry.schema["$defs"]
    root = defs[entry.schema["$ref"].removeprefix("#/$defs/")]
    places = root.get("prefixItems", ())
    fields = root.get("properties") or {place["title"]: place for place in places}
    required = root["required"] if "required" in root else list(fields)[: root.get("minItems", 0)]
    return {name: spell(field, defs) + _optional(name in required, field) for name, field in fields.items()}


def _optional(required: bool, field: Schema) -> str:
    if required:
        return ""
    return f" = {json.dumps(field['default'], ensure_ascii=False)}" if "default" in field else " = ..."


def to_text(catalogue: Catalogue) -> str:
    """As it stands in a file."""
    return json.dumps(msgspec.to_builtins(catalogue), indent=2, ensure_ascii=False, sort_keys=False) + "\n"


def from_text(text: bytes, name: str) -> Catalogue:
    """The catalogue in a file of that name. Raises InvalidRequest."""
    try:
        found = msgspec.json.decode(text, type=Catalogue)
        if found.catalogue != FORMAT:
            raise ValueError(f"it has format {found.catalogue}, this release reads {FORMAT}")  # noqa: TRY301
        _check(found)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"{name} is no catalogue of event types: {error}", field="FILE", remedy=REMEDY) from error
    return found


def _check(catalogue: Catalogue) -> None:
    """A file may have been merged by hand. Whoever compares relies on what is looked for here."""
    claimed: set[str] = set()
    for each in catalogue.types:
        if twice := claimed & each.names:
            raise ValueError(f"{min(twice)} stands in it twice")
        claimed |= each.names
        if not 1 <= each.oldest <= each.version:
            raise ValueError(f"{each.name} has version {each.version} and oldest {each.oldest}")
        defs = each.schema.get("$defs")
        if not isinstance(defs, dict) or "$ref" not in each.schema:
            raise ValueError(f"{each.name} has no schema with $ref and $defs")
        for schema in (each.schema, *defs.values()):
            _check_schema(schema, defs, each.name, top=schema is each.schema)


def _check_schema(schema: Any, defs: dict[str, Any], where: str, *, top: bool = False) -> None:
    if not isinstance(schema, dict):
        raise ValueError(f"{where}: {schema!r} is no schema")  # noqa: TRY004 - of the file, not of the call
    ref = schema.get("$ref")
    if ref is not None and (not isinstance(ref, str) or "$ref" in defs.get(ref.removeprefix("#/$defs/"), {"$ref": 0})):
        raise ValueError(f"{where}: {ref!r} refers to no class in $defs")
    for key, kind in _KINDS.items():
        if key in schema and not isinstance(schema[key], kind):
            raise ValueError(f"{where}: {key} is {schema[key]!r}")
    if "properties" in schema and "required" not in schema:
        raise ValueError(f"{where}: `required` is missing")
    if schema.get("type") == "object" and "properties" not in schema and "additionalProperties" not in schema:
        raise ValueError(f"{where}: neither properties nor additionalProperties are given")
    if schema.get("type") == "array" and not {"items", "prefixItems"} & set(schema):
        raise ValueError(f"{where}: neither items nor prefixItems are given")
    for inner in _inside(schema):
        _check_schema(inner, defs, where)


_KINDS: dict[str, Any] = {
    "type": str,
    "enum": list,
    "anyOf": list,
    "prefixItems": list,
    "properties": dict,
    "required": list,
    "omitDefaults": bool,
    "format": str,
    **dict.fromkeys(("minItems", "maxItems", "minLength", "maxLength", "minBytes", "maxBytes"), int),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), (int, float)),
    **dict.fromkeys(("minProperties", "maxProperties"), int),
}


def _inside(schema: Schema) -> Iterable[Any]:
    yield from schema.get("anyOf", ())
    yield from schema.get("prefixItems", ())
    yield from schema.get("properties", {}).values()
    for key in ("items", "additionalProperties", "propertyNames"):
        if key in schema and schema[key] is not False:
            yield schema[key]
