"""The rules for single values, and for sizes."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from eventstore.catalogue.alternatives import Alternative, kind_of
from eventstore.catalogue.difference import GONE, Difference, breaks, tighter
from eventstore.catalogue.schemas import Schema

EXACT = 2**53
"""Up to which a float holds every whole number."""
_SIZES = (("minLength", "maxLength"), ("minBytes", "maxBytes"))


def scalar(
    path: str, old: Alternative, olds: Sequence[Alternative], news: Sequence[Alternative]
) -> Iterator[Difference]:
    """As msgspec chooses: by the kind of JSON, an int first as int, then as float, then as Decimal."""
    # 5 is JSON of a float, too, unless an int beside it takes that
    with_ints = old.kind == "number" and not any(each.kind == "integer" for each in olds)
    for kind in ("integer", "number") if with_ints else (old.kind,):
        found = _readers(news, kind)
        if not found:
            yield GONE
            return
        for each in found:
            if "enum" in each.schema or not _same_format(old.schema, each.schema):
                yield GONE
                return
            if old.kind == "integer" and each.kind == "number" and not _is_exact(old.schema):
                yield breaks(path, "type-changed", "a float does not hold each int beyond 2**53, as may be stored")
            yield from _bounds(path, old.schema, each.schema)


def _is_exact(schema: Schema) -> bool:
    return bool(schema.get("minimum", -math.inf) >= -EXACT and schema.get("maximum", math.inf) <= EXACT)


def _readers(news: Sequence[Alternative], kind: str) -> list[Alternative]:
    chosen = {"integer": ("integer", "number"), "number": ("number",)}.get(kind, (kind,))
    for each in chosen:
        if found := [new for new in news if new.kind == each]:
            return found
    if kind in ("integer", "number"):
        return [new for new in news if new.schema.get("format") == "decimal"]
    return []


def accept(news: Sequence[Alternative], value: Any) -> bool:
    """Whether one value of an enum can be read."""
    if any(each.kind == "any" for each in news):
        return True
    found = _readers(news, kind_of(value))
    return bool(found) and all(_takes(each.schema, value) for each in found)


def _takes(new: Schema, value: Any) -> bool:
    if "enum" in new:
        return value in new["enum"]
    if new.get("type") == "number" and abs(value) > EXACT:
        return False
    size = len(value) if isinstance(value, str) else value
    fixed = dict.fromkeys(("minimum", "maximum", "minLength", "maxLength"), size)
    return _format(new) is None and not list(_bounds("", fixed, new))


def _same_format(old: Schema, new: Schema) -> bool:
    was, wanted = _format(old), _format(new)
    if old["type"] != "string":
        return True  # a number, whatever reads it
    if wanted is None:
        # what is written as text is some text; a Decimal may also be stored as a number
        return was is None or (was != "decimal" and not {"minLength", "maxLength", "pattern"} & set(new))
    return was == wanted or (was is not None and wanted == f"any-{was.removeprefix('naive-')}")


def _format(schema: Schema) -> str | None:
    return "bytes" if "contentEncoding" in schema else schema.get("format")


def _bounds(path: str, old: Schema, new: Schema) -> Iterator[Difference]:
    least, most = _lowest(old), _highest(old)
    if (wanted := _lowest(new)) is not None and (least is None or least < wanted):
        yield tighter(path, "above" if wanted[1] else "at least", wanted[0])
    if (wanted := _highest(new)) is not None and (most is None or most > wanted):
        yield tighter(path, "below" if wanted[1] else "at most", wanted[0])
    for pair in _SIZES:
        yield from sizes(path, old, new, pair)
    for key, what in (("multipleOf", "a multiple of"), ("pattern", "a text that matches")):
        if key in new and new[key] != old.get(key):
            yield tighter(path, what, new[key])


def _lowest(schema: Schema) -> tuple[float, int] | None:
    """A bound that can be compared: > 3 is tighter than >= 3."""
    if "exclusiveMinimum" in schema:
        return schema["exclusiveMinimum"], 1
    return (schema["minimum"], 0) if "minimum" in schema else None


def _highest(schema: Schema) -> tuple[float, int] | None:
    if "exclusiveMaximum" in schema:
        return schema["exclusiveMaximum"], -1
    return (schema["maximum"], 0) if "maximum" in schema else None


def sizes(path: str, old: Schema, new: Schema, names: tuple[str, str]) -> Iterator[Difference]:
    lower, upper = names
    if (new.get(lower) or 0) > (old.get(lower) or 0):
        yield tighter(path, f"{lower} of", new[lower])
    if new.get(upper) is not None and (old.get(upper) is None or old[upper] > new[upper]):
        yield tighter(path, f"{upper} of", new[upper])
