"""What a caller gave, looked at where it comes in: InvalidRequest names the argument, what it is, and what to give."""

from types import UnionType

from eventstore.errors import InvalidRequest

Kinds = type | UnionType | tuple[type, ...]


def must_be(kinds: Kinds, remedy: str, **given: object) -> None:
    """Each is of one of these types."""
    for name, value in given.items():
        if not isinstance(value, kinds):
            raise InvalidRequest(f"{name} is {told(value)}", field=name, remedy=remedy)


def may_be(kinds: Kinds, remedy: str, **given: object) -> None:
    """Each is of one of these types, or None."""
    must_be(kinds, remedy, **{name: value for name, value in given.items() if value is not None})


def not_empty(**given: object) -> None:
    """None of the texts is empty, neither itself nor in a list: it comes from a variable that is not set, and would
    count as no bound, or match nothing."""
    for name, value in given.items():
        if value == "" or (isinstance(value, list | tuple) and "" in value):
            raise InvalidRequest(f"{name} has an empty text", field=name, remedy="give a text, or leave it out")


def must_be_flags(**given: object) -> None:
    """Each is True or False: any text would count as true, `"false"` too."""
    must_be(bool, "True or False", **given)


def whole_number(remedy: str, **given: object) -> None:
    """Each is an int, and not True."""
    for name, value in given.items():
        if type(value) is not int:
            raise InvalidRequest(f"{name} is {told(value)}", field=name, remedy=remedy)


def at_least(lowest: int, **given: object) -> None:
    """Each is a whole number from `lowest`, or None."""
    for name, value in given.items():
        if value is not None and (type(value) is not int or value < lowest):
            raise InvalidRequest(f"{name} is {value!r}", field=name, remedy=f"a whole number from {lowest}")


def must_be_function(signature: str, given: object) -> None:
    name = signature.partition("(")[0]
    if not callable(given):
        raise InvalidRequest(f"{name} is {told(given)}", field=name, remedy=f"a function: {signature}")


def append_timeout(given: float | None, usual: float) -> float:
    """The `timeout_seconds` of an append: `usual` for None."""
    if given is None:
        return usual
    if not _is_number(given) or not given > 0:
        raise _no_timeout(given, "give seconds above 0")
    return given


def must_be_wait(given: float | None) -> None:
    """The `timeout_seconds` of a wait, which may be none at all."""
    if given is not None and (not _is_number(given) or not given >= 0):
        raise _no_timeout(given, "seconds from 0, or None: no limit")


def _is_number(given: object) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


def _no_timeout(given: object, remedy: str) -> InvalidRequest:
    return InvalidRequest(f"a timeout of {given!r} s", field="timeout_seconds", remedy=remedy)


def told(value: object) -> str:
    """A class for an instance is the usual slip."""
    return f"the class {value.__name__}" if isinstance(value, type) else f"of type {type(value).__name__}"
