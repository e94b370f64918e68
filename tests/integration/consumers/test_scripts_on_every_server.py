"""The scripts of groups do the same on every server that we promise, and touch the keys that they declare."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.crc import key_slot

import consumers
from infrastructure import lua
from tests.support.every_server import EVERY, Promised
from tests.support.group_contract import CONTRACT, Promise
from tests.support.logs import fill
from tests.support.monitor import Call, monitored
from tests.support.servers import Server, redis_server
from tests.support.stores import open_store
from tests.support.working import a_worker_and_its_operator

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
