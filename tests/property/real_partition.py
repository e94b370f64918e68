"""A partition on a real server, driven through the scripts as they are, and read back whole in the model's shapes."""

from struct import pack
from typing import Any, cast

from eventstore import codec
from eventstore.keys import Keys
from infrastructure import lua
from tests.property.log_model import LogModel, SentAppend, SentEvent, StoredEvent, Verdict

WRONG_TYPES = ("SET", "HSET", "XADD")


class RealPartition:
    """Partition 0 of a log of one, made by the scripts that make it in the product."""

    def __init__(self, client: Any, window_us: int) -> None:  # redis-py types both its clients' replies at once
        self._client, self._window_us = client, window_us
        self.keys = Keys("es", 1)
        client.flushall()
        self.create()

    def create(self) -> int:
        """What opening a log does to its partition; 0 if it was there."""
        k = self.keys
        fixed = [k.head(0), k.events(0), k.urgent(0), *k.duplicates(0), k.outgoing(0), k.incoming(0)]
        return cast("int", self._run("create_partition", fixed, []))

    def call(self, appends: list[SentAppend]) -> list[Verdict]:
        keys = [self.keys.head(0), self.keys.events(0), self.keys.urgent(0), *self.keys.duplicates(0)]
        args: list[Any] = []
        for append in appends:
            for i, part in enumerate(append.parts):
                keys.append(self.keys.index(0, part.stream))
                args += [part.expected, _about(append, i), *(packed(event, part.stream) for event in part.events)]
        ids = int(any(append.looked_up(part) for append in appends for part in append.parts))
        epoch, *replies = self._run("append", keys, [self._window_us, sum(len(a.parts) for a in appends), ids, *args])
        return [_verdict(int(epoch), replies) for _ in appends]

    def now(self) -> int:
        seconds, microseconds = self._client.time()
        return int(seconds) * 1_000_000 + int(microseconds)

    def promise(self, time_us: int) -> None:
        self._run("promise", [self.keys.head(0)], [time_us])

    def archive(self, border: int, streams: dict[str, list[int]], epoch: int) -> None:
        """Events up to a position leave the log and the indexes, which tell how many of each stream have gone."""
        for stream, positions in streams.items():
            gone = sum(position <= border for position in positions)
            index = self.keys.index(0, stream)
            self._client.delete(index)
            self._client.rpush(index, gone, *positions[gone:])
        self._client.xtrim(self.keys.events(0), minid=f"{epoch}-{border + 1}", approximate=False)

    def replid(self) -> str:
        return str(self._client.info("replication")["master_replid"])

    def become_another_process(self) -> None:
        """What a restart or a promotion does, as far as the scripts can see."""
        self._client.execute_command("DEBUG", "CHANGE-REPL-ID")

    def set_head(self, **fields: str | int) -> None:
        self._client.hset(self.keys.head(0), mapping=fields)

    def spoil(self, stream: str, how: str) -> None:
        """Put something that is not a list where the index of a stream belongs."""
        words = {"SET": ("x",), "HSET": ("field", "x"), "XADD": ("*", "field", "x")}[how]
        self._client.execute_command(how, self.keys.index(0, stream), *words)

    def mend(self, stream: str) -> None:
        self._client.delete(self.keys.index(0, stream))

    def state(self) -> dict[str, Any]:
        """All that is stored: keys by name, each in full, but for those that a test has spoiled."""
        c, k = self._client, self.keys
        found = {key.decode(): c.type(key) for key in c.keys("*")}
        indexes = [key for key in found if "}:i:" in key and found[key] == b"list"]
        return {
            "keys": sorted(found),
            "head": {name.decode(): value.decode() for name, value in c.hgetall(k.head(0)).items()},
            "log": [(entry_id.decode(), fields) for entry_id, fields in c.xrange(k.events(0))],
            "urgent": [(entry_id.decode(), fields) for entry_id, fields in c.xrange(k.urgent(0))],
            "streams": {k.stream_of(key): [int(i) for i in c.lrange(key, 0, -1)] for key in indexes},
            "buckets": [{i: int(p) for i, p in c.hgetall(key).items() if i} for key in k.duplicates(0)],
            "relay": (c.xlen(k.outgoing(0)), c.hgetall(k.incoming(0))),
        }

    def _run(self, script: str, keys: list[str], args: list[Any]) -> Any:
        return self._client.eval(lua.load("eventstore", script).source, len(keys), *keys, *args)


def expected_state(model: LogModel, keys: Keys) -> dict[str, Any]:
    """The same, as the model has it."""
    fixed = [keys.head(0), keys.events(0), keys.urgent(0), *keys.duplicates(0), keys.outgoing(0), keys.incoming(0)]
    ids = [f"{stored.epoch}-{stored.position}" for stored in model.log]
    return {
        "keys": sorted([*fixed, *(keys.index(0, stream) for stream in [*model.streams, *model.broken])]),
        "head": {
            "replid": model.replid,
            "number": str(model.number),
            "noted": str(model.epochs[-1][0] if model.epochs else 0),
            "epochs": ",".join(f"{number}:{first}" for number, first in model.epochs),
            "pos": str(len(model.log)),
            "last": str(model.last),
            "bucket": str(model.bucket),
            "age": str(model.age),
            "at": str(model.at),
            "largest": str(max((len(_value(stored)) for stored in model.log), default=0)),
        },
        "log": [(entry_id, {b"e": _value(stored)}) for entry_id, stored in zip(ids, model.log, strict=True)],
        "urgent": [
            (entry_id, {b"p": stored.event.letter.encode()})
            for entry_id, stored in zip(ids, model.log, strict=True)
            if stored.event.letter in "HC"
        ],
        "streams": {name: [0, *positions] for name, positions in model.streams.items()},
        "buckets": [{event_id.bytes: at for event_id, at in bucket.items()} for bucket in model.buckets],
        "relay": (0, {b"": b""}),
    }


def packed(event: SentEvent, stream: str) -> bytes:
    return codec.pack(event.id, stream.encode(), event.type, event.schema_version, event.data, b"")


def _value(stored: StoredEvent) -> bytes:
    head = pack(">BQ", codec.FORMAT, stored.recorded_at) + stored.version.to_bytes(6, "big")
    return head + packed(stored.event, stored.stream)


def _about(append: SentAppend, place: int) -> str | int:
    """The words about a part: the number of its events alone if there is nothing else to say."""
    events = append.parts[place].events
    flags = int(append.own_ids) + (2 if place < len(append.others) else 0)
    letters = "".join(event.letter for event in events)
    letters = letters if set(letters) & {"H", "C"} else ""
    words = f"{len(events)} {flags} {append.cause_at} {letters}"
    return len(events) if words == f"{len(events)} 0 0 " else words


def _verdict(epoch: int, replies: list[Any]) -> Verdict:
    """Takes a verdict off the replies, in the model's form: text as text, the epoch a number, no words of the server's
    own."""
    reply = replies.pop(0)
    if isinstance(reply, int):
        return ("ok", (reply, replies.pop(0), replies.pop(0), epoch))
    match reply:
        case [b"ok", *facts]:
            receipts = zip(*[iter(facts)] * 4, strict=True)
            return ("ok", *((version, at, recorded_at, int(epoch)) for version, at, recorded_at, epoch in receipts))
        case [b"version", *failed]:
            return ("version", *zip(*[iter(failed)] * 2, strict=True))
        case [b"id", part, place, why, stream, version, position]:
            return ("id", part, place, why.decode(), stream.decode(), version, position)
        case [b"damaged", int(), detail]:
            assert b"WRONGTYPE" in detail
            return ("type",)
        case [b"drift", number]:
            return ("drift", number)
    raise AssertionError(f"append.lua answered {reply!r}")
