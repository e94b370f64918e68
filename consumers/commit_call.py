"""The commit of a group in one partition, as a call of commit.lua."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from consumers.errors import CommitRefused
from consumers.joined import joined
from consumers.keys import GroupKeys
from consumers.mirror import remake_group
from consumers.orders import open_orders
from consumers.scripted import Argument, entry_id, stale, words_of, write
from consumers.state import Commit, Committed, Effect, Outgoing, Rewind
from eventstore.log import Log
from infrastructure import lua
from infrastructure.connect import Reply

_commit = lua.load("consumers", "commit")
_rewind = lua.load("consumers", "rewind")


async def commit(log: Log, keys: GroupKeys, call: Commit) -> Committed:
    """Writes all of `call` or nothing, as durably as the log promises; the same call again changes nothing and is
    answered alike. Sent once; once more if it was refused.

    Raises Stale: the lease is lost. CommitRefused: what a handler brought cannot be carried out, nothing was written.
    Unavailable: if it `maybe_ran`, only the very same call may follow, or the lease must be dropped; it was refused for
    want of memory (reason out-of-memory) only if it brings effects or returned events. LogDamaged.
    """
    effects = joined(call.effects)
    if len(effects) < len(call.effects):
        with suppress(CommitRefused):  # nothing was written: one by one it is seen which of them is refused
            return await _commit_with(log, keys, call, effects)
    return await _commit_with(log, keys, call, call.effects)


async def _commit_with(log: Log, keys: GroupKeys, call: Commit, effects: Sequence[Effect]) -> Committed:
    effect_keys = list(dict.fromkeys(effect.key for effect in effects))
    indexes = [log.keys.index(keys.partition, stream) for stream in call.rows]
    fixed = [keys.head, keys.log, keys.control, keys.detached, keys.due, keys.orders, keys.errors, keys.out]
    places = {key: i for i, key in enumerate(effect_keys, len(fixed) + len(indexes) + 1)}
    args: list[Argument] = [keys.group, *words_of(call.token), call.number, entry_id(call.offset)]
    args += [len(call.rows), len(call.taken), len(call.out), len(effects)]
    for stream, row in call.rows.items():
        args += (stream, row.pack(), call.failures.get(stream, b""))
    for order_id, carried_out in call.taken.items():
        args += (order_id, int(carried_out))
    for event in call.out:
        args += _words_of_event(event)
    for effect in effects:
        args += (places[effect.key], *_words_of_effect(effect))
    return await _answer(log, keys, call, effects, await write(log, _commit, [*fixed, *indexes, *effect_keys], args))


async def _answer(
    log: Log, keys: GroupKeys, call: Commit, effects: Sequence[Effect], reply: Sequence[Reply]
) -> Committed:
    match reply:
        case [b"stale", why]:
            raise stale(keys, why)
        case [b"effect" | b"event", index, why]:
            _raise_refused(call, effects, reply[0], index, why.decode())
    _, fin, paused, now_ms, head, largest, missing, gone, orders = reply
    if missing:
        await remake_group(log, keys)
    return Committed(
        gone=frozenset(stream.decode() for stream in gone),
        orders=open_orders(orders),
        fin=fin,
        paused=paused.decode(),
        now_ms=now_ms,
        head=head,
        largest=None if largest is None else int(largest),
    )


def _raise_refused(call: Commit, effects: Sequence[Effect], what: bytes, index: int, why: str) -> NoReturn:
    if what == b"effect":
        effect = effects[index]
        raise CommitRefused("effect", index, why, f"{effect.command} {effect.key}")
    raise CommitRefused("event", index, why, f"the event returned for {call.out[index].stream}")


def _words_of_event(event: Outgoing) -> tuple[Argument, ...]:
    return event.partition, event.stream, event.packed, event.cause_recorded_at, event.letter


def _words_of_effect(effect: Effect) -> tuple[Argument, ...]:
    command = effect.command.upper()
    words = [repr(word) if isinstance(word, float) else word for word in effect.args]
    return "UNLINK" if command == "DEL" else command, len(words), *words


async def rewind(log: Log, keys: GroupKeys, call: Rewind) -> None:
    """Moves the group to a place back or ahead, writes rows as they are given (None: it goes), ends the lease and wakes
    its holder: all or nothing, as durably as the log promises. The same call again changes nothing. Sent once. Raises
    as `commit`; Stale also if the log has no such place (any more)."""
    used = [keys.head, keys.log, keys.control, keys.detached, keys.due, keys.orders, keys.errors, keys.bell]
    args: list[Argument] = [keys.group, *words_of(call.token), entry_id(call.offset), call.fin, int(call.mute)]
    args.append(call.replay)
    for stream, row in call.rows.items():
        args += (stream, "-" if row is None else row.pack())
    reply = await write(log, _rewind, used, args)
    if reply[0] == b"stale":
        raise stale(keys, reply[1])
    if reply[1]:
        await remake_group(log, keys)
