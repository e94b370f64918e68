"""The scripts of groups do the same on every server that we promise, and touch the keys that they declare."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.crc import key_slot

import consumers
from consumers import To, consumer
from consumers.dead_letters import retry
from consumers.groups import delete_group, describe_group
from consumers.retry import Immediate
from eventstore import EventStore, RecordedEvent
from infrastructure import lua
from tests.support.every_server import EVERY, Promised
from tests.support.group_contract import CONTRACT, Promise
from tests.support.letters import until_listed
from tests.support.logs import fill
from tests.support.monitor import Call, monitored
from tests.support.running import running
from tests.support.servers import Server, redis_server, tries
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=EVERY, ids=str)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    promised: Promised = request.param
    async with redis_server(promised.find()) as server:
        yield server


async def keep(promise: Promise, server: Server) -> None:
    async with open_store(server, partitions=1) as store:
        await fill(store, "order-1", 6)
        await promise(server, store)


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
async def test_the_scripts_keep_their_promise(server: Server, promise: Promise) -> None:
    await keep(promise, server)


async def a_worker_and_its_operator(_: Server, store: EventStore) -> None:
    """What else is done with a group: an event is parked, retried when the handler is mended, and one returned."""
    broken = True

    @consumer("careful", retry=Immediate(attempts=1))
    async def handle(event: RecordedEvent) -> To | None:
        if broken and event.stream == "order-1":
            raise ValueError("no")
        return To("mail-1", Noted(event.version)) if event.stream == "order-1" else None

    async with running(store, handle):
        assert len(await until_listed(store, 1, "careful")) == 1
        assert (await describe_group(store, "careful")).members
        broken = False
        await retry(store, "careful", ["order-1"], who="ada")
        async for _try in tries():
            if await store.version("mail-1") == 6:
                break
    await delete_group(store, "careful", who="ada")


async def test_scripts_touch_the_keys_that_they_declare_and_no_other(server: Server) -> None:
    with monitored(server) as monitor:
        for promise in (*CONTRACT, a_worker_and_its_operator):
            await keep(promise, server)
        calls = [call for call in monitor.calls() if call.is_script]
    assert _ours() - _names(calls) == set(), "which the promises do not call"
    assert [(call.words[:3], call.touched - call.declared) for call in calls if call.touched - call.declared] == []
    assert [call.words[:3] for call in calls if len({key_slot(key) for key in call.declared}) != 1] == []


def _ours() -> set[str]:
    """The scripts that are called; the rest is included by them."""
    files = list(Path(consumers.__file__).with_name("scripts").glob("*.lua"))
    included = {
        name for file in files for name in re.findall(r"^-- include (\w+)\.lua$", file.read_text(), re.MULTILINE)
    }
    return {file.stem for file in files} - included


def _names(calls: list[Call]) -> set[str]:
    scripts = [lua.load("consumers", name) for name in _ours()]
    known = {key.encode(): script.name for script in scripts for key in (script.sha, script.source)}
    return {known[call.words[1]] for call in calls if call.words[1] in known}
