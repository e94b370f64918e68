"""A schema as the list of what its JSON may be, and how each of these is called."""

from typing import Any

from msgspec import Struct

from eventstore.catalogue.schemas import Schema

_DEPTH = 64  # of references to references
_NAMES = {
    "null": "None",
    "boolean": "bool",
    "integer": "int",
    "number": "float",
    "date-time": "datetime with zone",
    "naive-date-time": "datetime without zone",
    "any-date-time": "datetime",
    "time": "time with zone",
    "naive-time": "time without zone",
    "any-time": "time",
    "duration": "timedelta",
    "uuid": "UUID",
    "decimal": "Decimal",
}
_BOUNDS = {
    "minimum": ">= {}",
    "exclusiveMinimum": "> {}",
    "maximum": "<= {}",
    "exclusiveMaximum": "< {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minBytes": "at least {} bytes",
    "maxBytes": "at most {} bytes",
    "pattern": "matching {}",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} keys",
    "maxProperties": "at most {} keys",
}


class Alternative(Struct, frozen=True):
    """One thing that the JSON may be. `kind` is any, null, boolean, integer, number, string, array, map or record."""

    kind: str
    schema: Schema
    ref: str | None = None

    @property
    def tag(self) -> tuple[str, Any] | None:
        """Name and value of what tells a record from others in a union."""
        if self.kind == "record":
            fields = [(name, self.schema["properties"][name]) for name in self.schema.get("required", ())]
        elif self.kind == "array":
            fields = [(place.get("title", ""), place) for place in self.schema.get("prefixItems", ())]
        else:
            fields = []
        name, field = fields[0] if fields else ("", {})
        values = field.get("enum", ())
        return (name, values[0]) if len(values) == 1 else None


def alternatives(schema: Schema, defs: dict[str, Schema], ref: str | None = None, depth: int = 0) -> list[Alternative]:
    """All that the schema lets the JSON be; enums and literals by the kind of their values."""
    if depth > _DEPTH:
        raise ValueError(f"{ref} refers to itself only")
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        return alternatives(defs[name], defs, name, depth + 1)
    if "anyOf" in schema:
        return [found for each in schema["anyOf"] for found in alternatives(each, defs, None, depth + 1)]
    if "enum" in schema:
        kinds = dict.fromkeys(kind_of(value) for value in schema["enum"])
        return [
            Alternative(kind, {**schema, "enum": [v for v in schema["enum"] if kind_of(v) == kind]}, ref)
            for kind in kinds
        ]
    kind = schema.get("type", "any")
    if kind == "object":
        kind = "record" if "properties" in schema else "map"
    return [Alternative(kind, schema, ref)]


def kind_of(value: object) -> str:
    """Of a value of an enum."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case _:
            return "string"


def spell(schema: Schema, defs: dict[str, Schema]) -> str:
    """The schema as people write types: `list[int] | None`."""
    return " | ".join(dict.fromkeys(_spelled(each, defs) for each in alternatives(schema, defs))) or "nothing"


def _spelled(found: Alternative, defs: dict[str, Schema]) -> str:
    schema = found.schema
    if found.ref is not None and "title" in schema:
        return str(schema["title"])
    bounds = ", ".join(text.format(schema[key]) for key, text in _BOUNDS.items() if key in schema)
    return _bare(found, defs) + (f" ({bounds})" if bounds and "prefixItems" not in schema else "")


def _bare(found: Alternative, defs: dict[str, Schema]) -> str:
    schema = found.schema
    if "enum" in schema:
        return " | ".join(map(repr, schema["enum"]))
    match found.kind:
        case "any":
            return "anything"
        case "string" if "contentEncoding" in schema:
            return "bytes"
        case "string":
            given = str(schema.get("format", "str"))
            return _NAMES.get(given, given)
        case "array" if "prefixItems" in schema:
            return f"tuple[{', '.join(spell(each, defs) for each in schema['prefixItems'])}]"
        case "array":
            return f"{'set' if schema.get('uniqueItems') else 'list'}[{spell(schema['items'], defs)}]"
        case "map":
            keys = spell({"type": "string", **schema.get("propertyNames", {})}, defs)
            return f"dict[{keys}, {spell(schema['additionalProperties'], defs)}]"
    return _NAMES.get(found.kind, found.kind)
