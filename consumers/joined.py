"""Effects of a commit, made fewer: what events of one commit do to the same field of a hash is done once.

    HINCRBY h a 1, HSET h b 1, HINCRBY h a 2, HSET h b 2   ->   HINCRBY h a 3, HSET h b 2

Whatever else is done to a key keeps its place among what is done to it.
"""

from collections.abc import Sequence

from consumers.state import Effect

_LARGEST = 2**63 - 1


def joined(effects: Sequence[Effect]) -> list[Effect]:
    """What comes to the same as all of them, one after the other, unless one is refused."""
    found: list[Effect] = []
    of_key: dict[str, dict[str, int]] = {}  # where the last one of each field is
    for effect in effects:
        field = _field(effect)
        if field is None:
            of_key.pop(effect.key, None)
            found.append(effect)
            continue
        fields = of_key.setdefault(effect.key, {})
        place = fields.get(field)
        if place is not None and (both := _both(found[place], effect)) is not None:
            found[place] = both
        else:
            fields[field] = len(found)
            found.append(effect)
    return found


def _field(effect: Effect) -> str | None:
    """The only field that it changes. As text only: to Redis 1 and b"1" are the same field as "1"."""
    if effect.command not in ("HINCRBY", "HSET") or len(effect.args) != 2 or type(effect.args[0]) is not str:
        return None
    return effect.args[0]


def _both(before: Effect, after: Effect) -> Effect | None:
    if before.command != after.command:
        return None
    if after.command == "HSET":
        return after
    amount = before.args[1] + after.args[1]
    return Effect(after.command, after.key, (after.args[0], amount)) if -_LARGEST <= amount <= _LARGEST else None
