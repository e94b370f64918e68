"""Effects: what a handler keeps in Redis, written exactly once, by the commit that finishes its event.

    ctx.effects.hincrby("orders-by-day", "2026-11-23")

Nothing is sent while the handler runs: the commands are collected, checked, and part of one atomic call with the
offset. Each name is a key of the group's own in the partition of the event, so that one script can write it; what is
kept under one name is therefore spread over the partitions, and read from all of them.
"""

import math
from collections.abc import Sequence

from consumers.state import Effect
from eventstore.errors import InvalidRequest, TooLarge
from eventstore.names import stream_name

Value = str | bytes | int | float
MOST_PER_EVENT = 1_000
MOST_WORDS = 1_000  # of one command: a script can pass on no more than about 8,000
MOST_BYTES = 1 << 20
_LARGEST = 2**63 - 1


class Effects:
    """Collects the effects of one attempt. Each method is the Redis command of its name; raises InvalidRequest or
    TooLarge for arguments that Redis would refuse. A key of another type, or a field that is no number, is found by the
    commit, before anything is written: the attempt fails then."""

    __slots__ = ("_collected", "_is_open", "_prefix")

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._collected: list[Effect] = []
        self._is_open = True

    def hset(self, name: str, field: Value, value: Value) -> None:
        self._add("HSET", name, (field, value))

    def hincrby(self, name: str, field: Value, by: int = 1) -> None:
        self._add("HINCRBY", name, (field, _whole(by)))

    def hdel(self, name: str, *fields: Value) -> None:
        self._add("HDEL", name, fields)

    def sadd(self, name: str, *members: Value) -> None:
        self._add("SADD", name, members)

    def srem(self, name: str, *members: Value) -> None:
        self._add("SREM", name, members)

    def zadd(self, name: str, member: Value, score: float) -> None:
        self._add("ZADD", name, (_number(score), member))

    def zincrby(self, name: str, member: Value, by: float = 1) -> None:
        self._add("ZINCRBY", name, (_number(by), member))

    def zrem(self, name: str, *members: Value) -> None:
        self._add("ZREM", name, members)

    def set(self, name: str, value: Value) -> None:
        self._add("SET", name, (value,))

    def incrby(self, name: str, by: int = 1) -> None:
        self._add("INCRBY", name, (_whole(by),))

    def rpush(self, name: str, *values: Value) -> None:
        self._add("RPUSH", name, values)

    def delete(self, name: str) -> None:
        self._add("DEL", name, None)

    def collected(self) -> tuple[Effect, ...]:
        """All of them; what a handler has left running can add no more."""
        self._is_open = False
        return tuple(self._collected)

    def _add(self, command: str, name: str, args: Sequence[Value] | None) -> None:
        if not self._is_open:
            raise InvalidRequest(
                f"{command} {name}: the handler has returned", field="effects", remedy="collect effects before that"
            )
        if len(self._collected) >= MOST_PER_EVENT:
            raise TooLarge("the number of effects of an event", len(self._collected) + 1, MOST_PER_EVENT, None)
        _check_words(command, args)
        self._collected.append(Effect(command, self._prefix + stream_name(name), tuple(args or ())))


def _check_words(command: str, args: Sequence[Value] | None) -> None:
    if args is not None and not args:
        raise InvalidRequest(f"{command} of nothing", field="effects", remedy="give at least one value")
    if args is not None and len(args) > MOST_WORDS:
        raise TooLarge(f"the number of values of {command}", len(args), MOST_WORDS, None)
    size = 0
    for word in args or ():
        size += _size(command, word)
    if size > MOST_BYTES:
        raise TooLarge(f"the size of {command} in bytes", size, MOST_BYTES, None)


def _size(command: str, word: Value) -> int:
    match word:
        case bool():
            pass
        case bytes():
            return len(word)
        case str() if word.isascii():
            return len(word)
        case str():
            try:
                return len(word.encode())
            except UnicodeEncodeError as error:
                raise InvalidRequest(f"{command}: {error}", field="effects", remedy="text that is UTF-8") from error
        case int() if -_LARGEST <= word <= _LARGEST:
            return 8
        case float() if math.isfinite(word):
            return 8
    remedy = "text, bytes, a number; anything else as JSON: msgspec.json.encode(value)"
    raise InvalidRequest(f"{command} of {word!r:.60}", field="effects", remedy=remedy)


def _whole(by: int) -> int:
    if type(by) is not int or not -_LARGEST <= by <= _LARGEST:
        raise InvalidRequest(f"{by!r} is no whole number of 64 bits", field="effects", remedy="an int")
    return by


def _number(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidRequest(f"{value!r} is no number that Redis could add to", field="effects", remedy="a number")
    return value
