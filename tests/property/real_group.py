"""A group on a real server, read back whole, beside what the model expects of it."""

from typing import Any

from consumers.keys import GroupKeys
from tests.property.consumer_model import GroupModel, PartitionModel


def stored_state(client: Any, keys: GroupKeys, *, with_lag: bool) -> dict[str, Any]:
    """Everything of the group, and of the partition what the group's scripts may write there."""
    effects = {key.decode(): _value(client, key) for key in client.keys("*") if b"}:x:" in key}
    return {
        "head": _texts(client.hmget(keys.head, "replid", "number", "pos")),
        "control": _decoded(client.hgetall(keys.control)),
        "rows": _decoded(client.hgetall(keys.detached)),
        "due": {member.decode(): score for member, score in client.zrange(keys.due, 0, -1, withscores=True)},
        "orders": _decoded(client.hgetall(keys.orders)),
        "failures": _decoded(client.hgetall(keys.errors)),
        "out": [fields for _, fields in client.xrange(keys.out)],
        "out epochs": [entry_id.partition(b"-")[0].decode() for entry_id, _ in client.xrange(keys.out)],
        "effects": effects,
        "bell": _bell(client, keys),
        "mirror": _mirror(client, keys, with_lag=with_lag),
    }


def expected_state(group: GroupModel, log: PartitionModel) -> dict[str, Any]:
    failing = {stream: row for stream, row in group.table.items() if row.state.value == "r"}
    return {
        "head": [log.replid, str(log.number), str(log.head)],
        "control": {
            "owner": group.owner,
            "term": str(group.term),
            "until": str(group.until),
            "number": str(group.number),
            "epoch": str(group.epoch),
            "replid": group.replid,
            "offset": log.entry_id(group.offset),
            "fin": log.entry_id(group.fin),
            "mute": str(int(group.mute)),
            "paused": group.paused,
            "moved": group.moved,
            "replay": group.replay,
            **({} if group.lapsed is None else {"lapsed": str(group.lapsed)}),
        },
        "rows": {"": "", **{stream: row.pack() for stream, row in group.table.items()}},
        "due": {"": float("inf"), **{stream: float(row.due_ms) for stream, row in failing.items()}},
        "orders": {"": "", **{key: _order_text(order) for key, order in group.orders.items()}},
        "failures": {"": "", **{stream: why.decode() for stream, why in group.failures.items()}},
        "out": [
            {
                b"q": str(event.partition).encode(),
                b"s": event.stream.encode(),
                b"e": event.packed,
                b"c": str(event.cause_recorded_at).encode(),
                b"l": event.letter.encode(),
            }
            for _, event in group.out
        ],
        "out epochs": [str(epoch) for epoch, _ in group.out],
        "effects": group.effects,
        "bell": (len(group.rings), group.rings[-1]),
        "mirror": _expected_mirror(group, log),
    }


def _mirror(client: Any, keys: GroupKeys, *, with_lag: bool) -> dict[str, Any] | None:
    for found in client.xinfo_groups(keys.log):
        if found["name"].decode() == keys.group:
            pending = client.xpending_range(keys.log, keys.group, "-", "+", 1000)
            return {
                "offset": found["last-delivered-id"].decode(),
                "lag": found["lag"] if with_lag else None,
                "pending": {p["message_id"].decode(): (p["consumer"].decode(), p["times_delivered"]) for p in pending},
            }
    return None


def _expected_mirror(group: GroupModel, log: PartitionModel) -> dict[str, Any] | None:
    mirror = group.mirror
    if mirror is None:
        return None
    lag = None if mirror.moved else log.head - mirror.position
    return {"offset": log.entry_id(mirror.position), "lag": lag, "pending": mirror.pending}


def _bell(client: Any, keys: GroupKeys) -> tuple[int, str]:
    """How often it was rung, and why for the last time: one entry is left."""
    ((_, fields),) = client.xrange(keys.bell)
    return client.xinfo_stream(keys.bell)["entries-added"], fields[b"why"].decode()


def _value(client: Any, key: bytes) -> tuple[str, Any]:
    kind = client.type(key).decode()
    match kind:
        case "hash":
            return kind, _decoded(client.hgetall(key))
        case "set":
            return kind, {member.decode() for member in client.smembers(key)}
        case "zset":
            return kind, {member.decode(): score for member, score in client.zrange(key, 0, -1, withscores=True)}
        case "list":
            return kind, [each.decode() for each in client.lrange(key, 0, -1)]
    return kind, client.get(key).decode()


def _order_text(order: Any) -> str:
    return order if isinstance(order, str) else f"{order.kind} {order.version} {order.stream}"


def _decoded(fields: dict[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in fields.items()}


def _texts(words: list[bytes]) -> list[str]:
    return [word.decode() for word in words]
