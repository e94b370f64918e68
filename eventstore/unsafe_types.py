"""A type that makes msgspec 0.22 read beyond its memory: a tuple of fixed size in a union with something that has
bounds, such as `Annotated[int, Meta(ge=1)] | tuple[int, int]`. The process dies in the next garbage collection, so it
is looked for before msgspec sees it."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from msgspec import Meta

from eventstore.errors import EventTypeError

_BOUNDS = ("ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern")


def refuse_unsafe(hint: Any, name: str) -> None:
    """Raises EventTypeError if a class or an annotation has such a type in it. One that only the argument of a generic
    class makes is not found."""
    for found in _unsafe(hint, set()):
        raise EventTypeError(
            f"{name}: msgspec would crash by {found}, a tuple of fixed size beside a type with bounds",
            field="types",
            remedy="take the bounds away, or make the tuple a Struct of array_like=True or a NamedTuple",
        )


def _unsafe(hint: Any, seen: set[Any]) -> Iterator[Any]:
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else ()
    if any(map(_is_fixed_tuple, members)) and any(map(_is_bounded, members)):
        yield hint
    origin = get_origin(hint)
    for each in (*get_args(hint), origin, getattr(hint, "__value__", None), *_fields(hint, seen)):
        yield from _unsafe(each, seen) if each is not None else ()


def _fields(hint: Any, seen: set[Any]) -> list[Any]:
    """Of a class, each once."""
    if not isinstance(hint, type) or hint in seen or not hasattr(hint, "__annotations__"):
        return []
    seen.add(hint)
    try:
        return list(get_type_hints(hint, include_extras=True).values())
    except (NameError, TypeError):  # msgspec tells about them
        return []


def _is_fixed_tuple(hint: Any) -> bool:
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return get_origin(plain) is tuple and ... not in get_args(plain)


def _is_bounded(hint: Any) -> bool:
    metas = [each for each in get_args(hint)[1:] if isinstance(each, Meta)] if get_origin(hint) is Annotated else []
    return any(getattr(meta, name) is not None for meta in metas for name in _BOUNDS)
