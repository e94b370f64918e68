"""Handlers called without a server: a place that events come from, and a worker of a test's own."""

import time
from typing import Any

import anyio
from msgspec import Struct

from consumers.consumer import Consumer
from consumers.handle import Handling
from consumers.outcome import Failed, Outcome, Succeeded
from consumers.slots import Slot
from eventstore.envelope import RecordedEvent
from eventstore.event_types import EventTypes
from eventstore.keys import Keys
from infrastructure.settings import LogSettings
from tests.support.orders import PARTITIONS, recorded


async def work(seconds: float) -> None:
    """What a handler does that takes so long."""
    await anyio.sleep(seconds)


def block(seconds: float) -> None:
    """What keeps the event loop for so long, as a machine does that is busy otherwise."""
    time.sleep(seconds)


class Home(Struct, frozen=True):
    """What handling asks of a log."""

    types: EventTypes
    settings: LogSettings
    keys: Keys
    partitions: int


def home(**limits: Any) -> Home:
    return Home(EventTypes(), LogSettings(**limits), Keys("es", PARTITIONS), PARTITIONS)


def handling(consumer: Consumer, opened: dict[Any, Any] | None = None, **options: Any) -> Handling:
    """Without jitter, at a time that stands still."""
    fixed = {"now_us": lambda: 5_000_000, "chance": lambda: 0.0}
    return Handling(consumer, home(), opened, "me", **{**fixed, **options})


async def handled(consumer: Consumer, data: Struct | RecordedEvent, *args: Any, **options: Any) -> Outcome:
    event = data if isinstance(data, RecordedEvent) else recorded(data)
    return await handling(consumer).handle(Slot(), event, *args, **options)


async def succeeded(consumer: Consumer, data: Struct | RecordedEvent, *args: Any, **options: Any) -> Succeeded:
    outcome = await handled(consumer, data, *args, **options)
    assert isinstance(outcome, Succeeded), outcome
    return outcome


async def failed(consumer: Consumer, data: Struct | RecordedEvent, *args: Any, **options: Any) -> Failed:
    outcome = await handled(consumer, data, *args, **options)
    assert isinstance(outcome, Failed), outcome
    return outcome
