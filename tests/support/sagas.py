"""Sagas on a server, as a test sees them: their streams, and where they are found."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from consumers.keys import effect_key
from consumers.sagas.groups import react_group, route_group
from consumers.sagas.index import LIVE
from consumers.sagas.instances import Instances, stream_of
from consumers.sagas.route import UNROUTED
from consumers.sagas.saga import Saga
from consumers.sagas.state import STATUSES, State
from consumers.sagas.stored import Stored
from eventstore import EventStore, RecordedEvent
from tests.support.servers import tries


async def state_of(store: EventStore, saga: Saga, saga_id: str) -> State:
    """The fold of its stream, as of now."""
    return await Instances(Stored(store), saga).load(stream_of(saga.name, saga_id))


async def told(store: EventStore, stream: str) -> list[RecordedEvent]:
    return [event async for event in store.read(stream)]


async def names(store: EventStore, saga: Saga, saga_id: str) -> list[str]:
    """Its facts, each with its step, if it has one: `step_started fetch`."""
    found = await told(store, stream_of(saga.name, saga_id))
    return [f"{event.type.removeprefix('saga.')} {getattr(event.data, 'step', '')}".strip() for event in found]


async def index(store: EventStore, saga: Saga) -> dict[str, dict[str, float]]:
    """The zsets in which sagas are found, of all partitions; empty ones are left out."""
    found: dict[str, dict[str, float]] = {}
    for name in (*STATUSES, LIVE):
        for partition in range(store.log.partitions):
            key = effect_key(store.log.keys, react_group(saga.name), partition, name)
            flat: list[Any] = await store.log.redis.execute(key, "ZRANGE", key, 0, -1, "WITHSCORES")
            if flat:
                scores = {member.decode(): float(n) for member, n in zip(flat[::2], flat[1::2], strict=True)}
                found.setdefault(name, {}).update(scores)
    return found


async def listed(store: EventStore, saga: Saga) -> dict[str, list[str]]:
    """Ids by status, and of those that live, as the index has them."""
    return {name: sorted(ids) for name, ids in (await index(store, saga)).items()}


async def unrouted(store: EventStore, saga: Saga) -> Counter[str]:
    """How many events were for no saga, by type."""
    found: Counter[str] = Counter()
    for partition in range(store.log.partitions):
        key = effect_key(store.log.keys, route_group(saga.name), partition, UNROUTED)
        flat: list[Any] = await store.log.redis.execute(key, "HGETALL", key)
        found.update({field.decode(): int(n) for field, n in zip(flat[::2], flat[1::2], strict=True)})
    return found


async def until_listed(
    store: EventStore, saga: Saga, wanted: Mapping[str, Iterable[str]], seconds: float = 20.0
) -> None:
    """Until the index has exactly these."""
    expected = {name: sorted(ids) for name, ids in wanted.items()}
    found: dict[str, list[str]] = {}
    try:
        async for _ in tries(seconds):
            found = await listed(store, saga)
            if found == expected:
                return
    except AssertionError as error:
        raise AssertionError(f"listed are {shortened(found)}, wanted {shortened(expected)}") from error


def shortened(ids: Mapping[str, list[str]]) -> dict[str, Sequence[str]]:
    return {name: each if len(each) < 10 else [*each[:10], f"... {len(each)}"] for name, each in ids.items()}
