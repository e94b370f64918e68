"""A shop whose cards are declined: consumers that fail where a test wants them to, and what is left of that."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from msgspec import Struct

from consumers.consumer import Consumer, consumer
from consumers.dead_letters import LetterShape, list_letters
from consumers.errors import GroupNotFound
from consumers.keys import group_keys
from consumers.retry import Park, Policy
from eventstore import EventStore, RecordedEvent, StreamAppend, audit
from infrastructure.tasks import together
from tests.support.running import running
from tests.support.servers import tries


class Placed(Struct, frozen=True):
    n: int


class Declined(Exception):
    """The card was declined."""


def _is_unpaid(event: RecordedEvent) -> bool:
    return not event.stream.startswith("paid-")


class Shop:
    """`declines` tells which events fail; `handled` are those whose handler has returned, `calls` all that were seen:
    stream and version."""

    def __init__(self, declines: Callable[[RecordedEvent], bool] = _is_unpaid) -> None:
        self.declines = declines
        self.calls: list[tuple[str, int]] = []
        self.handled: list[tuple[str, int]] = []

    def mend(self) -> None:
        self.declines = lambda _: False

    def charging(self, group: str = "charge-cards", retry: Policy = Park(), **options: Any) -> Consumer:  # noqa: B008
        @consumer(group, retry=retry, **options)
        async def charge(event: RecordedEvent) -> None:
            self.calls.append((event.stream, event.version))
            if self.declines(event):
                raise Declined(f"no funds for {event.stream}")
            self.handled.append((event.stream, event.version))

        return charge


async def listed(store: EventStore, *args: Any, **options: Any) -> list[LetterShape]:
    return [letter async for letter in list_letters(store, *args, **options)]


async def until_listed(
    store: EventStore, number: int, group: str = "charge-cards", **options: Any
) -> list[LetterShape]:
    """The letters, when there are so many."""
    async for _ in tries(60):
        with suppress(GroupNotFound):  # whoever runs is just making it
            found = await listed(store, group, **options)
            if len(found) == number:
                return found
    raise AssertionError


async def park(
    store: EventStore,
    streams: Sequence[str],
    events: int = 1,
    group: str = "charge-cards",
    declines: Callable[[RecordedEvent], bool] = lambda _: True,
) -> None:
    """The first event of each of these streams fails and is parked; nobody runs afterwards. Beside each there is an
    event that does not fail, or the group would be paused for an outage."""
    shop = Shop(lambda event: _is_unpaid(event) and declines(event))
    await together([partial(_append, store, stream, events) for stream in streams])
    async with running(store, shop.charging(group)):
        await until_listed(store, len(streams), group)


async def _append(store: EventStore, stream: str, events: int) -> None:
    fails = StreamAppend(stream, [Placed(n) for n in range(1, events + 1)])
    await store.append_many([fails, StreamAppend(f"paid-{{{stream}}}", [Placed(0)])])


async def pending(store: EventStore, group: str = "charge-cards") -> dict[str, list[str]]:
    """What Redis' own list shows: consumer -> streams."""
    found: dict[str, list[str]] = {}
    redis = store.log.redis
    for partition in range(store.log.partitions):
        events = group_keys(store.log.keys, group, partition).log
        shown: list[Any] = await redis.execute(events, "XPENDING", events, group, "-", "+", 10_000)
        for entry_id, name, _, count in shown:
            position = int(entry_id.partition(b"-")[2])
            (event,) = [e async for e in store.read_partition(partition, from_position=position, limit=1)]
            found.setdefault(name.decode(), []).append(f"{event.stream}@{event.version}x{count}")
    return {name: sorted(shown) for name, shown in found.items()}


async def audited(store: EventStore, *whats: str) -> list[tuple[str, str, str | None, dict[str, Any]]]:
    """(who, what, why, facts) of the entries of these kinds, in order."""
    entries = [event.data async for event in audit.entries(store)]
    return [(e.who, e.what, e.why, e.facts) for e in entries if not whats or e.what in whats]
