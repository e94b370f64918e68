"""The log of one server: what every operation needs to know of it, and how it is made."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import repeat

from msgspec import Struct, ValidationError, convert
from msgspec.structs import replace
from redis.exceptions import ResponseError

from eventstore import durability
from eventstore.arguments import may_be
from eventstore.codec import Entry, unpack_at
from eventstore.durability import Durability
from eventstore.entries import Entries, make_all
from eventstore.envelope import RecordedEvent
from eventstore.errors import EventStoreError, InvalidEvent, InvalidRequest, LogDamaged, Unavailable
from eventstore.event_types import EventTypes, undecodable
from eventstore.filters import Filter
from eventstore.keys import Keys, log_key
from eventstore.server_facts import Facts
from eventstore.stored_numbers import DAMAGED, stored_number
from infrastructure import lua
from infrastructure.connect import Redis, Reply, refusal
from infrastructure.patience import answer
from infrastructure.refusals import code_of, text_of
from infrastructure.settings import LogSettings, Settings
from infrastructure.settings_schema import SCHEMA
from infrastructure.tasks import together

FORMAT = "1"
_create = lua.load("eventstore", "create_log")
_create_partition = lua.load("eventstore", "create_partition")


class Log(Struct, frozen=True):
    """One open log. `partitions` and `duplicate_window_us` were fixed when the log was made."""

    redis: Redis
    keys: Keys
    partitions: int
    duplicate_window_us: int
    durability: Durability
    types: EventTypes
    settings: LogSettings

    def recorded(self, entry: Entry) -> RecordedEvent:
        """The entry as the caller sees it: data, name and schema version of the type as this process knows it. Raises
        InvalidEvent, which names the place, if its data does not decode."""
        try:
            name, schema_version, read = self.types.kind(entry.type, entry.schema_version)
            return RecordedEvent(
                entry.id,
                entry.stream,
                entry.version,
                entry.partition,
                entry.epoch,
                entry.position,
                entry.recorded_at,
                name,
                schema_version,
                read(entry.data),
                entry.metadata,
            )
        except InvalidEvent as error:
            raise _at(error, entry) from error.__cause__
        except Exception as error:  # the user's types are asked, and may raise anything
            raise _at(undecodable(entry.type, entry.schema_version, error), entry) from error

    def recorded_all(self, entries: Entries, *, system: bool) -> Iterator[RecordedEvent]:
        """`recorded` of each, as it is asked for; made at once, without an Entry in between, that takes half the time.
        Without `system`, events of system streams are passed over. Raises InvalidEvent, LogDamaged."""
        partition = entries.partition

        def carefully(epoch: int, position: int, value: bytes) -> RecordedEvent:
            return self.recorded(unpack_at(partition, epoch, position, value))

        for run in entries.runs:
            yield from make_all(
                RecordedEvent,
                self.types.kind,
                carefully,
                partition,
                repeat(run.epoch),
                run.positions,
                run.values,
                system=system,
            )

    def resolved(self, where: Filter | None) -> Filter | None:
        """The filter with each type under all names that it had: as entries are stored. Raises InvalidRequest."""
        may_be(Filter, 'give Filter(types=("OrderPlaced",), ...)', where=where)
        if where is None or not where.types:
            return where
        names = dict.fromkeys(stored for name in where.types for stored in self.types.names_of(name))
        return replace(where, types=tuple(names))


def _at(error: InvalidEvent, entry: Entry) -> InvalidEvent:
    place = f"{entry.stream} version {entry.version}, partition {entry.partition} position {entry.position}"
    facts = {"stream": entry.stream, "version": entry.version, "partition": entry.partition}
    return InvalidEvent(
        f"{error.detail} ({place})",
        field=error.field,
        remedy=error.remedy,
        facts={**error.facts, **facts, "position": entry.position},
    )


async def open_log(
    redis: Redis, settings: Settings, types: EventTypes, servers: Sequence[Facts], *, read_only: bool = False
) -> Log:
    """Opens the log under the prefix of the settings; makes it where there is none. `servers` is what they have said of
    themselves just now. With `read_only` a durability that they cannot give is no reason to refuse."""
    limits = settings.eventstore
    _check_prefix(limits.prefix)
    partitions, window_us = await _fixed(redis, limits)
    keys = Keys(limits.prefix, partitions)
    await together([partial(_make_partition, redis, keys, partition) for partition in range(partitions)])
    seconds = settings.redis.socket_timeout_seconds / 2
    level = await durability.choose(redis, servers, limits.durability, seconds, read_only=read_only)
    return Log(redis, keys, partitions, window_us, level, types, limits)


def _check_prefix(prefix: str) -> None:
    """Settings made by hand were not checked yet. Braces would decide the slot; a pattern would match others' keys."""
    row = SCHEMA["eventstore.prefix"]
    try:
        convert(prefix, row.type)
    except ValidationError:
        raise InvalidRequest(
            f"the prefix {prefix!r} cannot be used", field=row.key, remedy=f"give {row.kind.expects}"
        ) from None


async def _fixed(redis: Redis, limits: LogSettings) -> tuple[int, int]:
    wanted = (FORMAT, limits.partitions, int(limits.duplicate_window_seconds * 1_000_000))
    key = log_key(limits.prefix)
    reply = await answer(redis, _create, [key], wanted)
    if isinstance(reply, ResponseError) and code_of(reply) != "WRONGTYPE":
        raise _not_made(refused(reply), limits.prefix)
    if _is_foreign(reply):
        raise LogDamaged(
            f"{key} is no log: another program uses that key", remedy="choose another prefix: EVENTSTORE_PREFIX"
        )
    fields = zip(("format", "partitions", "duplicate_window_us"), _answer(reply), strict=True)
    stored_format, partitions, window_us = (stored_number(key, field, value, least=1) for field, value in fields)
    if stored_format != int(FORMAT):
        raise LogDamaged(f"the log has format {stored_format}, this release reads {FORMAT}", remedy="use its release")
    return partitions, window_us


async def _make_partition(redis: Redis, keys: Keys, p: int) -> None:
    fixed = [keys.head(p), keys.events(p), keys.urgent(p), *keys.duplicates(p), keys.outgoing(p), keys.incoming(p)]
    _answer(await answer(redis, _create_partition, fixed, []))


def _not_made(error: EventStoreError, prefix: str) -> EventStoreError:
    if not isinstance(error, Unavailable) or error.reason != "permission":
        return error
    return Unavailable(
        f"there is no log under {prefix!r}, and this user may not make one",
        reason="permission",
        remedy="open it once as a user who may append",
    )


def _is_foreign(reply: Reply) -> bool:
    """A key of another type, or a hash that holds something else."""
    return code_of(reply) == "WRONGTYPE" if isinstance(reply, ResponseError) else None in reply


def _answer(reply: Reply) -> Reply:
    if isinstance(reply, ResponseError):
        raise refused(reply)
    return reply


def refused(error: Exception) -> EventStoreError:
    """What the refusal of a script of ours means."""
    code, detail = code_of(error), text_of(error).partition(" ")[2]
    if code == "DAMAGED":
        return LogDamaged(detail, remedy=DAMAGED)
    if code != "NOPARTITION":
        return refusal(error)
    return LogDamaged(
        f"a partition of the log is gone: {detail}",
        remedy="restore a backup; if the log was deleted on purpose (FLUSHALL), open it again, which makes a new one",
    )
