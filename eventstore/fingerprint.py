"""What tells one fold from another: a digest of its code, of the types it knows and of the value it begins with.

Two folds of one digest make equal states of equal events. The reverse need not hold: other bytecode of another Python,
or a renamed class, gives another digest; that costs a fold of all events, never a wrong state.

Seen are a function with its defaults, closure and constants, and what of its own package it names directly: functions,
cached ones too, and values such as `RATE = 5`, with the fields of Structs and dataclasses. Not seen is what it reaches
through a module or an object (`rates.of(x)`).
"""

import datetime
import decimal
import enum
import functools
import hashlib
import typing
import uuid
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, MethodType
from typing import Any

import msgspec
from msgspec import inspect as types

from eventstore.sameness import fields_of

_Cached: Any = type(functools.cache(len))
_PLAIN = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    bytearray,
    decimal.Decimal,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    uuid.UUID,
)


def digest(*texts: str) -> str:
    """128 bits of them all, each with its length, so that no two lists of texts run together."""
    whole = "".join(f"{len(text)}:{text}" for text in texts)
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def of_function(function: Callable[..., Any]) -> str:
    return digest(*_function(function, set()))


def of_type(known: Any) -> str:
    """Raises TypeError for a type that msgspec cannot encode and decode by itself."""
    return digest(*_type(types.type_info(known), set()))


def _function(function: object, seen: set[int]) -> Iterator[str]:
    if id(function) in seen:
        return
    seen.add(id(function))
    match function:
        case functools.partial() | functools.partialmethod():
            yield from _value((function.args, function.keywords), seen)
            yield from _function(function.func, seen)
        case MethodType():
            yield from _value(function.__self__, seen)
            yield from _function(function.__func__, seen)
        case staticmethod() | classmethod():
            yield from _function(function.__func__, seen)
        case _Cached():
            yield from _function(function.__wrapped__, seen)
        case functools.cached_property():
            yield from _function(function.func, seen)
        case functools.singledispatchmethod():
            yield from _function(function.dispatcher, seen)
        case property():
            yield from (text for part in (function.fget, function.fset) for text in _function(part, seen))
        case FunctionType():
            yield from _code(function.__code__, seen)
            yield from _value((function.__defaults__, function.__kwdefaults__), seen)
            yield from (text for cell in function.__closure__ or () for text in _value(_content(cell), seen))
            yield from _named(function, seen)
        case _ if callable(function) and isinstance(call := type(function).__call__, FunctionType):
            yield from _function(call, seen)
        case _:
            yield _name_of(function)


def _content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _code(code: CodeType, seen: set[int]) -> Iterator[str]:
    """Without places, and names of variables that are no arguments, which change nothing. `co_code` is what was
    compiled, whatever the interpreter has made of it since."""
    named = code.co_argcount + code.co_kwonlyargcount
    yield f"{code.co_argcount} {code.co_posonlyargcount} {code.co_kwonlyargcount} {code.co_flags} {code.co_code.hex()}"
    yield from code.co_varnames[:named]
    yield from code.co_names
    for constant in code.co_consts:
        yield from _code(constant, seen) if isinstance(constant, CodeType) else _value(constant, seen)


def _named(function: FunctionType, seen: set[int]) -> Iterator[str]:
    package = _package(function)
    for name in sorted(_names(function.__code__)):
        found = function.__globals__.get(name)
        if isinstance(found, FunctionType | _Cached):
            yield from _function(found, seen) if _package(found) == package else ()
        elif not isinstance(found, type):
            yield from _value(found, seen)


def _names(code: CodeType) -> set[str]:
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)


def _package(function: Any) -> str:
    return str(function.__module__).partition(".")[0]


def _value(value: object, seen: set[int]) -> Iterator[str]:
    match value:
        case enum.Enum():
            yield f"{_name_of(type(value))}.{value.name}={value.value!r}"
        case _ if value is None or isinstance(value, _PLAIN):
            yield f"{type(value).__name__} {value!r}"
        case FunctionType() | MethodType() | functools.partial() | _Cached():
            yield from _function(value, seen)
        case _ if id(value) not in seen:  # else it is inside itself
            seen.add(id(value))
            yield from _composed(value, seen)
            seen.discard(id(value))


def _composed(value: object, seen: set[int]) -> Iterator[str]:
    """Sets in order of their texts, each made for itself: their own order is another in each process."""
    names = fields_of(value)
    match value:
        case tuple() | list():
            yield f"{type(value).__name__} of {len(value)}"
            yield from (text for item in value for text in _value(item, seen))
        case set() | frozenset():
            yield f"set of {len(value)}"
            yield from sorted(digest(*_value(item, set(seen))) for item in value)
        case dict():
            yield f"{type(value).__name__} of {len(value)}"
            yield from sorted(digest(*_value(pair, seen)) for pair in value.items())
        case _ if names is not None:
            yield _name_of(type(value))
            yield from (text for name in names for text in _value(getattr(value, name, None), seen))
        case _:
            yield _name_of(value)


def _name_of(value: object) -> str:
    """Never `repr`: it may tell an address."""
    named = value if isinstance(value, type) or hasattr(value, "__qualname__") else type(value)
    return str(getattr(named, "__qualname__", named.__class__.__name__))


def _type(info: object, seen: set[Any]) -> Iterator[str]:
    """Kind, names, defaults and bounds of a type and of all its fields; the methods of the user's classes too, for
    folds call them."""
    match info:
        case types.CustomType():
            raise TypeError(f"msgspec does not know {_name_of(info.cls)}")
        case types.EnumType():
            yield from (f"{member.name}={member.value!r}" for member in info.cls)
            yield from _methods(info.cls)
        case types.Type() | types.Field():
            yield type(info).__name__
            cls = getattr(info, "cls", None)
            if cls is not None and cls in seen:
                return
            seen.add(cls)
            for name in info.__struct_fields__:
                yield name
                yield from _type(getattr(info, name), seen)
        case tuple():
            yield f"of {len(info)}"
            yield from (text for part in info for text in _type(part, seen))
        case type():
            yield info.__qualname__
            yield from _methods(info)
            yield from _constants(info)
        case _ if isinstance(generic := typing.get_origin(info), type):  # of `Page[int]`
            yield from _type(generic, seen)
        case _:
            yield from _value(info, set())


def _methods(cls: type) -> Iterator[str]:
    for part in (part for base in cls.__mro__ for part in vars(base).values()):
        if isinstance(part, _METHODS):
            yield from _function(part, set())


def _constants(cls: type) -> Iterator[str]:
    """Such as `LIMIT: ClassVar[int] = 5`, which its methods use."""
    for name, part in ((name, part) for base in cls.__mro__ for name, part in vars(base).items()):
        if not name.startswith("__") and isinstance(part, (*_PLAIN, tuple, list, set, frozenset, dict)):
            yield name
            yield from _value(part, set())


_METHODS = (
    FunctionType,
    staticmethod,
    classmethod,
    property,
    functools.partialmethod,
    functools.cached_property,
    functools.singledispatchmethod,
    _Cached,
)


def of_value(value: object) -> str:
    """Raises TypeError, or whatever the types of the user raise, for what msgspec cannot encode."""
    msgspec.msgpack.encode(value)
    return digest(*_value(value, set()))
