"""The rules: whether all that one schema lets into the log can still be read with another.

A difference breaks where some JSON of the old schema does not decode as the new one, or decodes with something passed
over in silence. Where that cannot be told, it breaks.

    rule                breaks when, in a type of unchanged version,
    field-removed       a field is gone: what is stored in it would be passed over (a renamed field is one, too)
    field-required      a field without default was added, or one lost its default
    fields-forbidden    fields that the Struct does not name were allowed and are not any more
    type-changed        a field takes no longer all that it took: str became int, or lost `| None`
    value-removed       an enum or Literal lost a value
    constraint          a bound, length, pattern or number of items is tighter
    default-changed     the Struct has `omit_defaults`: the old default is what is not stored (else a note)

    field-added, value-added, type-widened, default-changed: notes
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from eventstore.catalogue.alternatives import Alternative, alternatives, spell
from eventstore.catalogue.difference import GONE, Difference, breaks, note
from eventstore.catalogue.scalars import accept, scalar, sizes
from eventstore.catalogue.schemas import Schema


def differences(old: Schema, new: Schema) -> list[Difference]:
    """What differs from one schema of `schema_of` to another, what breaks first."""
    found = list(_Comparison(old.get("$defs", {}), new.get("$defs", {})).compare("", old, new))
    return sorted(dict.fromkeys(found), key=lambda each: not each.breaking)


class _Comparison:
    """Of two schemas. A pair of classes is compared once: that ends recursion, and says each thing once."""

    def __init__(self, old: dict[str, Schema], new: dict[str, Schema]) -> None:
        self._old, self._new = old, new
        self._seen: set[tuple[str | None, str | None]] = set()

    def compare(self, path: str, old: Schema, new: Schema) -> Iterator[Difference]:
        olds, news = alternatives(old, self._old), alternatives(new, self._new)
        found = [each for one in olds for each in self._alternative(path, one, olds, news)]
        was, now = spell(old, self._old), spell(new, self._new)
        if any(each is GONE for each in found):
            yield breaks(path, "type-changed", f"{was} became {now}")
        elif path and was != now and not any(each.breaking for each in found) and not _all_enums(news):
            yield note(path, "type-widened", f"{was} became {now}")
        yield from (each for each in found if each is not GONE)
        yield from self._added_values(path, olds, news)

    def _alternative(
        self, path: str, old: Alternative, olds: Sequence[Alternative], news: Sequence[Alternative]
    ) -> Iterator[Difference]:
        if any(each.kind == "any" for each in news):
            return
        if "enum" in old.schema:
            for value in old.schema["enum"]:
                if not accept(news, value):
                    yield breaks(path, "value-removed", f"{value!r} is no longer accepted")
            return
        match old.kind:
            case "integer" | "number" | "null" | "boolean" | "string":
                yield from scalar(path, old, olds, news)
            case "record" | "array" | "map":
                yield from self._composed(path, old, olds, news)
            case _:
                yield GONE

    def _composed(
        self, path: str, old: Alternative, olds: Sequence[Alternative], news: Sequence[Alternative]
    ) -> Iterator[Difference]:
        same = [each for each in news if each.kind == old.kind]
        if len(same) > 1 or sum(each.kind == old.kind for each in olds) > 1:
            same = [each for each in same if each.tag is not None and each.tag == old.tag]
        if len(same) != 1:
            yield GONE
            return
        new, pair = same[0], (old.ref, same[0].ref)
        if None not in pair:
            if pair in self._seen:
                return
            self._seen.add(pair)
        match old.kind:
            case "record":
                yield from self._record(path, old.schema, new.schema)
            case "map":
                yield from self._map(path, old.schema, new.schema)
            case _:
                yield from self._array(path, old.schema, new.schema)

    # ---- fields by name ----

    def _record(self, path: str, old: Schema, new: Schema) -> Iterator[Difference]:
        before, after = old["properties"], new["properties"]
        for name, field in before.items():
            if name in after:
                yield from self._field(f"{path}.{name}", field, after[name], omitted=old.get("omitDefaults", False))
            else:
                yield breaks(f"{path}.{name}", "field-removed", _REMOVED)
        for name in after:
            required, was = name in new["required"], name in old["required"]
            if required and not was:
                yield breaks(f"{path}.{name}", "field-required", _REQUIRED if name in before else _ADDED_REQUIRED)
            elif name not in before:
                yield note(f"{path}.{name}", "field-added", f"{spell(after[name], self._new)}, with a default")
        if new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
            yield breaks(path, "fields-forbidden", _FORBIDDEN)

    def _field(self, path: str, old: Schema, new: Schema, *, omitted: bool = False) -> Iterator[Difference]:
        """`omitted`: a default is never stored, and what is read instead is the new one."""
        yield from self.compare(path, old, new)
        if "default" in new and old.get("default", new["default"]) != new["default"]:
            detail = f"{old['default']!r} became {new['default']!r}, also for what is stored without the field"
            yield (breaks if omitted else note)(path, "default-changed", detail)
        elif omitted and "default" in old and "default" not in new:
            yield breaks(path, "default-changed", f"{old['default']!r} was never stored, and another may be read now")

    def _map(self, path: str, old: Schema, new: Schema) -> Iterator[Difference]:
        keys = ({"type": "string", **each.get("propertyNames", {})} for each in (old, new))
        yield from self.compare(f"{path}.keys()", *keys)
        yield from self.compare(f"{path}.*", old["additionalProperties"], new["additionalProperties"])
        yield from sizes(path, old, new, ("minProperties", "maxProperties"))

    # ---- fields by place ----

    def _array(self, path: str, old: Schema, new: Schema) -> Iterator[Difference]:
        before, after = old.get("prefixItems"), new.get("prefixItems")
        if new.get("uniqueItems") and not old.get("uniqueItems"):
            yield breaks(path, "type-changed", "what stands twice in the list would be dropped in a set")
        if _has_names(before) and _has_names(after):
            yield from self._places(path, old, new)
            return
        most = old.get("maxItems", None if before is None else len(before))
        yield from sizes(path, {**old, "maxItems": most}, new, ("minItems", "maxItems"))
        if after is not None and new.get("items") is not False and (most is None or most > len(after)):
            yield breaks(path, "constraint", f"what stands behind the first {len(after)} would be passed over")
        for place in range(max(len(before or ()), len(after or ()))):
            one, other = _at(old, place), _at(new, place)
            # that a place is gone, the sizes tell
            if one is not None and other is not None and (most is None or place < most):
                yield from self._field(f"{path}[{place}]", one, other)
        if before is None:
            rest = _at(new, len(after or ()))
            yield from self.compare(f"{path}[]", old["items"], {} if rest is None else rest)

    def _places(self, path: str, old: Schema, new: Schema) -> Iterator[Difference]:
        """Of array-like Structs and named tuples: the place decides, and a name must not move."""
        before, after = old["prefixItems"], new["prefixItems"]
        for place, field in enumerate(before):
            where = f"{path}.{field['title']}"
            if place >= len(after):
                yield breaks(where, "field-removed", _REMOVED)
            elif after[place]["title"] != field["title"]:
                detail = f"{after[place]['title']} stands in its place, and would be read from what is stored of it"
                yield breaks(where, "field-removed", detail)
            else:
                yield from self._field(where, field, after[place])
        for place in range(old["minItems"], len(after)):
            where = f"{path}.{after[place]['title']}"
            if place < new["minItems"]:
                yield breaks(where, "field-required", _REQUIRED if place < len(before) else _ADDED_REQUIRED)
            elif place >= len(before):
                yield note(where, "field-added", f"{spell(after[place], self._new)}, with a default")
        if new.get("items") is False and old.get("items") is not False:
            yield breaks(path, "fields-forbidden", _FORBIDDEN)

    def _added_values(
        self, path: str, olds: Sequence[Alternative], news: Sequence[Alternative]
    ) -> Iterator[Difference]:
        if any("enum" in each.schema for each in olds):
            for value in (value for each in news for value in each.schema.get("enum", ())):
                if not accept(olds, value):
                    yield note(path, "value-added", f"{value!r}")


_REMOVED = "what is stored in it would be passed over"
_REQUIRED = "it had a default, and stored events may lack it"
_ADDED_REQUIRED = "it has no default, and stored events lack it"
_FORBIDDEN = "stored events may hold fields that are not named; they are refused now"


def _all_enums(news: Sequence[Alternative]) -> bool:
    """Then each added value is told."""
    return all("enum" in each.schema for each in news)


def _has_names(places: Sequence[Schema] | None) -> bool:
    return places is not None and all("title" in each for each in places)


def _at(schema: Schema, place: int) -> Schema | None:
    """What stands in that place of an array; None for nothing."""
    places = schema.get("prefixItems", [])
    found: Schema | Literal[False] = places[place] if place < len(places) else schema.get("items", {})
    return None if found is False else found
