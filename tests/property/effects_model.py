"""What effects do to the keys of handlers, in plain Python: all of a commit, or none of them."""

import re
from collections.abc import Sequence
from typing import Any

from consumers.state import Effect

Stored = dict[str, tuple[str, Any]]
"""Kind and value by key: a dict for a hash or a zset, a set, a list, a text."""
FURTHEST = 9.2e18
_KIND_OF = {
    **dict.fromkeys(("HSET", "HINCRBY", "HDEL"), "hash"),
    **dict.fromkeys(("SADD", "SREM"), "set"),
    **dict.fromkeys(("ZADD", "ZINCRBY", "ZREM"), "zset"),
    **dict.fromkeys(("SET", "INCRBY"), "string"),
    "RPUSH": "list",
}
_EMPTY: dict[str, Any] = {"hash": dict, "set": set, "zset": dict, "string": str, "list": list}


class _Wrong(Exception):
    pass


def check_and_run(stored: Stored, effects: Sequence[Effect]) -> int | None:
    """Changes `stored`; the place of the first effect that cannot be carried out, if one cannot. What loses its last
    member within the call counts as there to the end of it."""
    for i, effect in enumerate(effects):
        try:
            _run(stored, effect)
        except _Wrong:
            return i
    for key in [key for key, (kind, value) in stored.items() if kind != "string" and not value]:
        del stored[key]
    return None


def _run(stored: Stored, effect: Effect) -> None:
    command, key, args = effect.command, effect.key, effect.args
    if command == "DEL":
        stored.pop(key, None)
        return
    kind = _KIND_OF[command]
    if command == "SET":
        stored[key] = kind, _text(args[0])
        return
    if key not in stored and command == "INCRBY":
        stored[key] = kind, "0"
    there, value = stored.setdefault(key, (kind, _EMPTY[kind]()))
    if there != kind:
        raise _Wrong
    match command:
        case "HSET":
            value.update(zip(map(_text, args[::2]), map(_text, args[1::2]), strict=True))
        case "HINCRBY":
            value[_text(args[0])] = _sum(value.get(_text(args[0]), "0"), _text(args[1]))
        case "INCRBY":
            stored[key] = kind, _sum(value, _text(args[0]))
        case "SADD":
            value.update(map(_text, args))
        case "ZADD":
            value.update(zip(map(_text, args[1::2]), map(_score, args[::2]), strict=True))
        case "ZINCRBY":
            value[_text(args[1])] = value.get(_text(args[1]), 0.0) + _score(args[0])
        case "RPUSH":
            value.extend(map(_text, args))
        case "SREM":
            value.difference_update(map(_text, args))
        case "HDEL" | "ZREM":
            for each in args:
                value.pop(_text(each), None)


def _sum(now: str, step: str) -> str:
    if not all(re.fullmatch(r"0|-?[1-9]\d{0,18}", each) for each in (now, step)):
        raise _Wrong
    if abs(int(now)) + abs(int(step)) > FURTHEST:
        raise _Wrong
    return str(int(now) + int(step))


def _score(word: object) -> float:
    if not isinstance(word, int | float):
        raise _Wrong
    return float(word)


def _text(word: object) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)
