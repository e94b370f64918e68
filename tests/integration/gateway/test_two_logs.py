"""Two logs in one Redis, told apart by their prefixes alone, of which one may be the beginning of the other."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from uuid import UUID

import anyio
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from eventstore import EventStore, Metadata, NewEvent, Priority, Untyped, audit
from eventstore.errors import InvalidRequest
from gateway import actions
from infrastructure.errors import SettingsError
from infrastructure.settings import LogSettings, Settings, load_settings
from tests.support.servers import Server, redis_server

pytestmark = pytest.mark.anyio

PREFIXES = pytest.mark.parametrize(
    ("one", "other"), [("es", "es:x"), ("a", "b"), ("es", "es:log"), ("es", "es:log.0.0"), ("es", "es:i:order-1")]
)


@pytest.fixture
async def own() -> AsyncIterator[Server]:
    async with redis_server(args=["--maxmemory", "500mb", "--appendonly", "yes"]) as server:
        yield server


def log_of(server: Server, prefix: str, **log: object) -> Settings:
    return Settings(redis=server.settings, eventstore=LogSettings(**{"prefix": prefix, "partitions": 2, **log}))  # type: ignore[arg-type]


async def write(store: EventStore, numbers: range) -> None:
    """The same streams, versions and ids in every log."""
    for n in numbers:
        event = NewEvent(data=Untyped("Noted", {"n": n, "in": store.log.settings.prefix}), id=UUID(int=n))
        await store.append(f"order-{n % 3}", [event], metadata=Metadata(priority=Priority.HIGH))


@PREFIXES
async def test_each_has_its_own_streams_versions_ids_and_keys(own: Server, one: str, other: str) -> None:
    async with EventStore.open(settings=log_of(own, one)) as first:
        await write(first, range(1, 10))
        keys_of_one = set(own.admin("KEYS", "*"))
        before = {key: own.admin("DUMP", key) for key in keys_of_one}
        async with EventStore.open(settings=log_of(own, other, partitions=3)) as second:
            await write(second, range(1, 7))
            await audit.record(second, "ada", "replay")
            keys_of_other = set(own.admin("KEYS", "*")) - keys_of_one
            assert {key: own.admin("DUMP", key) for key in keys_of_one} == before, "nothing of the other's is touched"
            assert len(keys_of_other) == 1 + 3 * 7 + 4
            assert await second.version("order-1") == 2
            assert await first.version("order-1") == 3
            assert [event.data["in"] async for event in first.read_all()] == [one] * 9
            assert [event.data["in"] async for event in second.read_all(order="total")] == [other] * 6
            for store, events in ((first, 9), (second, 6)):
                await shows_only_its_own(store, events)


async def shows_only_its_own(store: EventStore, events: int) -> None:
    prefix = store.log.settings.prefix
    shapes = await actions.streams(store)
    assert [(s.stream, s.version) for s in shapes] == [(f"order-{n}", events // 3) for n in range(3)]
    exported = [line async for line in actions.export_events(store, where=None, cloud_events=False, on_progress=print)]
    assert len(exported) == events
    assert all(f'"in":"{prefix}"'.encode() in line for line in exported)
    assert await actions.check_log(store, on_progress=lambda _done, _total: None) == []
    shape = await actions.describe_log(store)
    assert shape.events == events + len([entry async for entry in audit.entries(store)])
    async with aclosing(await actions.follow(store, where=None, order="total", since=0)) as following:
        with anyio.fail_after(10):
            found = [await anext(following) for _ in range(events)]
    assert {event.data["in"] for event in found} == {prefix}


async def test_what_follows_one_log_is_not_woken_by_the_other(own: Server) -> None:
    async with (
        EventStore.open(settings=log_of(own, "es")) as first,
        EventStore.open(settings=log_of(own, "es:x")) as second,
        aclosing(first.subscribe()) as following,
    ):
        await write(second, range(1, 4))
        await first.append("order-1", [Untyped("Noted", {"in": "es"})])
        with anyio.fail_after(10):
            assert (await anext(following)).data == {"in": "es"}


@pytest.mark.parametrize("prefix", ["a:{b}", "{a}", "a}", "a b", "a*", "é", "", "a" * 65])
async def test_a_prefix_that_would_lead_astray_is_refused(own: Server, prefix: str) -> None:
    if prefix:
        with pytest.raises(SettingsError, match=r"eventstore\.prefix"):
            load_settings({"EVENTSTORE_PREFIX": prefix})
    with pytest.raises(InvalidRequest, match="prefix") as caught:
        async with EventStore.open(settings=log_of(own, prefix)):
            pass
    assert caught.value.field == "eventstore.prefix"
    assert own.admin("DBSIZE") == 0


async def test_settings_that_a_log_was_made_without_are_told_and_have_no_effect(own: Server) -> None:
    made = log_of(own, "es", partitions=2, duplicate_window_seconds=90.0)
    async with EventStore.open(settings=made):
        pass
    as_made = replace(made, eventstore=LogSettings(prefix="es"))
    for settings in (made, as_made):
        with capture_logs() as logged:
            async with EventStore.open(settings=settings) as store:
                assert (store.log.partitions, store.log.duplicate_window_us) == (2, 90_000_000)
        assert [line for line in logged if line.get("check") == "log"] == []
    otherwise = log_of(own, "es", partitions=5, duplicate_window_seconds=60.0)
    with capture_logs() as logged:
        async with EventStore.open(settings=otherwise) as store:
            assert (store.log.partitions, store.log.duplicate_window_us) == (2, 90_000_000)
    (line,) = [line for line in logged if line.get("check") == "log"]
    assert "eventstore.partitions 5 (it has 2)" in line["detail"]
    assert "eventstore.duplicate_window 1m (it has 90s)" in line["detail"]
    (check,) = [check for check in await actions.check_server(otherwise) if check.name == "log"]
    assert (check.status, check.detail) == ("WARN", line["detail"])
