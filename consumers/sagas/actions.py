"""Actions of sagas: what a function takes, told by its annotations, as of handlers."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from consumers.handlers import Handler, further, is_async_function, name_of, parameters_of, unusable
from consumers.sagas.context import StepContext
from eventstore.errors import InvalidEvent
from eventstore.json_values import refuse_what_json_cannot_hold

_write = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder().decode


def action_of(function: Callable[..., Any], data: type[Struct], timeout_seconds: float) -> Handler:
    """An action or a compensation. Its first parameter is the saga's data. Raises InvalidConsumer."""
    name = name_of(function)
    is_async = is_async_function(function, name)
    remedy = f"annotate it with {data.__name__}, the data of the saga"
    first, *others = parameters_of(function, name, what="data", first=remedy, context="StepContext")
    if first.annotation not in (data, Any):
        raise unusable(f"{name}({first.name})", "does not take the saga's data", remedy)
    context, resources = further(others, StepContext, name)
    return Handler(function, name, (), False, context, resources, is_async, timeout_seconds, "skip")


def changes_of(returned: object, given: Struct, name: str) -> dict[str, Any]:
    """The fields in which what a function returned differs from the data it was given; None changes nothing. Raises
    InvalidEvent."""
    if returned is None:
        return {}
    if type(returned) is not type(given):
        kind = type(given).__name__
        raise InvalidEvent(
            f"{name} returned a {type(returned).__name__}", field=name, remedy=f"return a {kind}, or None"
        )
    before, after = as_builtins(given), as_builtins(returned)
    return {key: value for key, value in after.items() if key not in before or before[key] != value}


def as_builtins(data: Struct) -> dict[str, Any]:
    """Data as facts hold them, and as they are read again. All fields are there, those at their defaults too. Raises
    InvalidEvent for what cannot be written."""
    config = data.__struct_config__
    tag = {} if config.tag is None or config.tag_field is None else {config.tag_field: config.tag}
    names = zip(data.__struct_encode_fields__, data.__struct_fields__, strict=True)
    fields = {encoded: getattr(data, name) for encoded, name in names}
    try:
        written = _write(fields)
        if b"null" in written:  # which msgspec makes of NaN, too
            refuse_what_json_cannot_hold(msgspec.to_builtins(fields, str_keys=True), type(data).__name__)
        read: dict[str, Any] = _read(written)
    except InvalidEvent:
        raise
    except Exception as error:  # the user's types are asked, and may raise anything
        what = f"{type(data).__name__} cannot be written as JSON: {error}"
        raise InvalidEvent(what, field="data", remedy="give every field a value of its type") from error
    return tag | read
