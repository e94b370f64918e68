"""Random event types, changed copies of them, and random events: what the rules of the catalogue are tried on.

A spec is a small tree that says what a type is. From it come the Python type, and JSON of it.
"""

import enum
import json
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Union
from uuid import UUID

import msgspec
from hypothesis import strategies as st
from msgspec import Meta, Struct, defstruct

MOST = 10**18  # an int beyond 1e308 is no float, which no rule can tell


class Spec(Struct, frozen=True):
    """`kind`, with `bounds` or whatever else says more, made of `parts`."""

    kind: str
    bounds: tuple[Any, ...] = ()
    parts: tuple["Spec", ...] = ()


_GROUPS = {
    "none": "none",
    "bool": "bool",
    "int": "int",
    "float": "float",
    **dict.fromkeys(
        ("str", "datetime", "time", "date", "timedelta", "uuid", "decimal", "bytes", "words", "enum"), "text"
    ),
    "numbers": "int",
    **dict.fromkeys(("list", "set"), "array"),
    **dict.fromkeys(("dict", "struct"), "object"),
}
"""A union takes one of each group at most; also several structs, tagged. No tuple: msgspec 0.22 reads beyond its
memory for a union of one with anything that has bounds, and the garbage collector crashes."""


def _leaves() -> dict[str, st.SearchStrategy[Spec]]:
    """By kind."""
    bound = st.one_of(st.none(), st.integers(-2, 3))
    size = st.one_of(st.none(), st.integers(0, 3))
    words = st.lists(st.sampled_from("abcd"), min_size=1, unique=True).map(tuple)
    numbers = st.lists(st.integers(0, 4), min_size=1, unique=True).map(tuple)
    zone = st.sampled_from([None, True, False])
    return {
        "int": st.tuples(bound, bound).map(_ordered).map(lambda b: Spec("int", b)),
        "float": bound.map(lambda b: Spec("float", (b,))),
        "str": st.tuples(size, size).map(_ordered).map(lambda b: Spec("str", b)),
        "bytes": size.map(lambda b: Spec("bytes", (b,))),
        **{kind: st.just(Spec(kind)) for kind in _PLAIN},
        "datetime": zone.map(lambda z: Spec("datetime", (z,))),
        "time": zone.map(lambda z: Spec("time", (z,))),
        "words": words.map(lambda w: Spec("words", w)),
        "enum": words.map(lambda w: Spec("enum", w)),
        "numbers": numbers.map(lambda n: Spec("numbers", n)),
    }


def _leaf() -> st.SearchStrategy[Spec]:
    return st.one_of(*_LEAVES.values())


def _ordered(bounds: tuple[int | None, int | None]) -> tuple[int | None, int | None]:
    least, most = bounds
    return bounds if least is None or most is None or least <= most else (most, least)


def _composed(inner: st.SearchStrategy[Spec]) -> st.SearchStrategy[Spec]:
    plain = st.one_of(*(leaf for kind, leaf in _LEAVES.items() if kind != "any"))
    keys = st.one_of(*(_LEAVES[kind] for kind in _KEYS))
    return st.one_of(
        st.tuples(inner, st.integers(0, 2)).map(lambda p: Spec("list", (p[1],), (p[0],))),
        plain.map(lambda p: Spec("set", (), (p,))),
        st.lists(inner, min_size=1, max_size=3).map(lambda p: Spec("tuple", (), tuple(p))),
        st.tuples(keys, inner).map(lambda p: Spec("dict", (), p)),
        st.lists(inner, min_size=2, max_size=4).map(_union),
        structs(inner),
        st.lists(structs(inner), min_size=2, max_size=3).map(_tagged),
    )


def _union(parts: Sequence[Spec]) -> Spec:
    chosen: dict[str, Spec] = {}
    for part in parts:
        for each in part.parts if part.kind == "union" else (part,):
            group = _GROUPS.get(each.kind)
            if group is not None:
                chosen.setdefault(group, each)
    return Spec("union", (), tuple(chosen.values())) if len(chosen) > 1 else parts[0]


def _tagged(parts: Sequence[Spec]) -> Spec:
    return Spec("tagged", (), tuple(Spec("struct", ("record", False, *each.bounds[2:]), each.parts) for each in parts))


@st.composite
def structs(draw: st.DrawFn, inner: st.SearchStrategy[Spec]) -> Spec:
    """Fields a, b, c ...; the optional ones last, as places want it."""
    names = draw(st.lists(st.sampled_from("abcd"), min_size=0, max_size=3, unique=True))
    optional = sorted(draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names))))
    shape, closed = draw(st.sampled_from(["record", "record", "places"])), draw(st.booleans())
    parts = tuple(draw(inner) for _ in names)
    return Spec("struct", (shape, closed, *zip(names, optional, strict=True)), parts)


_PLAIN: dict[str, Any] = {
    "bool": bool,
    "none": None,
    "date": date,
    "timedelta": timedelta,
    "uuid": UUID,
    "decimal": Decimal,
    "any": Any,
}
_KEYS = ("str", "int", "date", "uuid", "words", "enum")
_LEAVES = _leaves()
specs = st.recursive(_leaf(), _composed, max_leaves=6)
events = structs(specs)


@st.composite
def changed(draw: st.DrawFn, spec: Spec) -> Spec:
    """The spec with something done to it somewhere, or another one."""
    if spec.parts and draw(st.integers(0, 3)) > 0:
        place = draw(st.integers(0, len(spec.parts) - 1))
        inner = draw(changed(spec.parts[place]))
        return _valid(Spec(spec.kind, spec.bounds, (*spec.parts[:place], inner, *spec.parts[place + 1 :])), spec)
    if spec.kind == "struct":
        return draw(_changed_struct(spec))
    if spec.kind in ("tagged", "union", "tuple") and draw(st.booleans()):
        parts = tuple(draw(st.lists(st.sampled_from(spec.parts), min_size=1, unique=True)))
        return _valid(Spec(spec.kind, spec.bounds, parts), spec)
    if draw(st.booleans()):
        return draw(_LEAVES.get(spec.kind, st.just(spec)))
    return draw(st.one_of(specs, specs.map(lambda other: _valid(_union([spec, other]), spec)), st.just(Spec("any"))))


@st.composite
def _changed_struct(draw: st.DrawFn, spec: Spec) -> Spec:
    shape, closed, *fields = spec.bounds
    rows = [(*field, part) for field, part in zip(fields, spec.parts, strict=True)]
    match draw(st.sampled_from(["add", "drop", "turn", "close", "shape", "rename"])):
        case "add":
            free = [name for name in "abcde" if name not in dict(fields)]
            rows.append((draw(st.sampled_from(free)), draw(st.booleans()), draw(specs)))
        case "drop" if rows:
            rows.pop(draw(st.integers(0, len(rows) - 1)))
        case "turn" if rows:
            place = draw(st.integers(0, len(rows) - 1))
            rows[place] = (rows[place][0], not rows[place][1], rows[place][2])
        case "close":
            closed = not closed
        case "shape":
            shape = "record" if shape == "places" else "places"
        case "rename" if rows:
            rows = [(dict(zip("abcde", "bcdea", strict=True))[name], *rest) for name, *rest in rows]
    rows.sort(key=lambda row: row[1])
    return Spec("struct", (shape, closed, *((name, optional) for name, optional, _ in rows)), tuple(r[2] for r in rows))


def _valid(spec: Spec, otherwise: Spec) -> Spec:
    """The spec, or the other one if it is no type. What msgspec refuses beyond this, the test passes over."""
    if spec.kind == "tagged" and any(each.kind != "struct" for each in spec.parts):
        return otherwise
    if spec.kind == "dict" and spec.parts[0].kind not in _KEYS:
        return otherwise
    if spec.kind == "union" and (len(spec.parts) < 2 or _union(spec.parts) != spec):
        return otherwise
    return spec


# ---- the Python type ----


def struct_of(spec: Spec, name: str = "Event", tag: str | None = None) -> type[Struct]:
    shape, closed, *fields = spec.bounds
    found: list[Any] = []
    for (field, optional), part in zip(fields, spec.parts, strict=True):
        annotation = type_of(part, f"{name}_{field}")
        default = msgspec.field(default_factory=lambda: None) if optional else None
        found.append((field, annotation, default) if optional else (field, annotation))
    options: dict[str, Any] = {"array_like": shape == "places", "forbid_unknown_fields": closed, "frozen": True}
    return defstruct(name, found, tag=tag, **options)


def type_of(spec: Spec, name: str) -> Any:
    match spec.kind:
        case "int":
            return Annotated[int, Meta(ge=spec.bounds[0], le=spec.bounds[1])]
        case "float":
            return Annotated[float, Meta(ge=spec.bounds[0])]
        case "str":
            return Annotated[str, Meta(min_length=spec.bounds[0], max_length=spec.bounds[1])]
        case "bytes":
            return Annotated[bytes, Meta(min_length=spec.bounds[0])]
        case "datetime":
            return Annotated[datetime, Meta(tz=spec.bounds[0])]
        case "time":
            return Annotated[time, Meta(tz=spec.bounds[0])]
        case "words" | "numbers":
            return Literal[spec.bounds]
        case "enum":
            return enum.Enum(name, {word.upper(): word for word in spec.bounds})
        case "list":
            return Annotated[list[type_of(spec.parts[0], name)], Meta(min_length=spec.bounds[0])]  # type: ignore[misc]
        case "set":
            return set[type_of(spec.parts[0], name)]  # type: ignore[misc]
        case "tuple":
            return tuple[tuple(type_of(part, f"{name}{n}") for n, part in enumerate(spec.parts))]  # type: ignore[misc]
        case "dict":
            return dict[type_of(spec.parts[0], f"{name}k"), type_of(spec.parts[1], name)]  # type: ignore[misc]
        case "union":
            return Union[tuple(type_of(part, f"{name}{n}") for n, part in enumerate(spec.parts))]  # noqa: UP007
        case "tagged":
            return Union[tuple(struct_of(part, name, _tag(part)) for part in spec.parts)]  # noqa: UP007
        case "struct":
            return struct_of(spec, name)
    return _PLAIN[spec.kind]


def _tag(part: Spec) -> str:
    """The same for a part that was changed only inside, so that it is recognised."""
    return "-".join(name for name, *_ in part.bounds[2:]) or "empty"


# ---- JSON of it ----

_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=2), inner, max_size=2)),
    max_leaves=4,
)


def documents(spec: Spec) -> st.SearchStrategy[Any]:
    """What JSON of the type may hold."""
    match spec.kind:
        case "struct":
            return _of_struct(spec, None)
        case "tagged":
            return st.one_of([_of_struct(part, _tag(part)) for part in spec.parts])
        case "union":
            return st.one_of([documents(part) for part in spec.parts])
        case "list":
            return st.lists(documents(spec.parts[0]), min_size=spec.bounds[0], max_size=3)
        case "set":
            numeric = spec.parts[0].kind in ("int", "float", "decimal")
            return st.lists(documents(spec.parts[0]), max_size=3, unique_by=Decimal if numeric else repr)
        case "tuple":
            return st.tuples(*map(documents, spec.parts)).map(list)
        case "dict":
            return st.dictionaries(documents(spec.parts[0]).map(_key), documents(spec.parts[1]), max_size=2)
    return _single(spec)


def _key(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _single(spec: Spec) -> st.SearchStrategy[Any]:
    least, most = (*spec.bounds, None, None)[:2]
    match spec.kind:
        case "int":
            return st.integers(-MOST if least is None else least, MOST if most is None else most)
        case "float":
            floats = st.floats(least, allow_nan=False, allow_infinity=False)
            return st.one_of(floats, st.integers(-MOST if least is None else least, MOST))
        case "str":
            return st.text(st.characters(codec="utf-8"), min_size=least or 0, max_size=most)
        case "bytes":
            return st.binary(min_size=least or 0, max_size=5).map(lambda b: b64encode(b).decode())
        case "datetime":
            return st.datetimes(timezones=_zones(least)).map(datetime.isoformat)
        case "time":
            return st.times(timezones=_zones(least)).map(time.isoformat)
        case "words" | "numbers" | "enum":
            return st.sampled_from(spec.bounds)
    return _SINGLE[spec.kind]


def _zones(zone: bool | None) -> st.SearchStrategy[Any]:
    return {None: st.sampled_from([None, UTC]), True: st.just(UTC), False: st.none()}[zone]


_SINGLE: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "none": st.none(),
    "date": st.dates().map(date.isoformat),
    "timedelta": st.timedeltas(timedelta(0), timedelta(9)).map(lambda d: f"PT{d.seconds}S"),
    "uuid": st.uuids().map(str),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str),
    "any": _JSON,
}


@st.composite
def _of_struct(draw: st.DrawFn, spec: Spec, tag: str | None) -> Any:
    shape, _, *fields = spec.bounds
    found: dict[str, Any] = {} if tag is None else {"type": tag}
    for (name, optional), part in zip(fields, spec.parts, strict=True):
        if optional and draw(st.booleans()):
            if shape == "places":
                break  # what is left out stands at the end
            continue
        found[name] = draw(documents(part))
    return list(found.values()) if shape == "places" else found
