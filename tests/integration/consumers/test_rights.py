"""The Redis user of docs/reference.md that runs consumers, with exactly the rights listed there: they suffice, and each
is needed, or named before anything of a group is written."""

from collections.abc import AsyncIterator, Iterator

import pytest
from msgspec import Struct

from consumers.creation import ensure_group
from consumers.groups import list_groups
from consumers.rights import check_rights
from consumers.start import Start
from consumers.verify import check_groups
from eventstore import EventStore, Unavailable
from eventstore.verify import CHECKS, verify
from infrastructure.secrets import Secret
from infrastructure.settings import RedisSettings
from tests.support.every_server import EVERY, Promised
from tests.support.group_contract import CONTRACT, Promise
from tests.support.logs import fill
from tests.support.reference import commands_of, rights_of
from tests.support.servers import Server, redis_server
from tests.support.stores import open_store
from tests.support.working import a_worker_and_its_operator

pytestmark = pytest.mark.anyio


class Machine(Struct):
    """A server, and whether it knows WAITAOF."""

    server: Server
    waitaof: bool

    def as_worker(self, *changes: str, name: str = "worker") -> RedisSettings:
        """The user as the reference makes it, with a few changes."""
        self.server.admin("ACL", "SETUSER", name, "reset", *rights_of(name, waitaof=self.waitaof), *changes)
        return RedisSettings(host="127.0.0.1", port=self.server.port, username=name, password=Secret("password"))

    def of_groups(self) -> list[str]:
        """The commands that a worker needs and one who only appends does not."""
        log = commands_of("eventstore", waitaof=self.waitaof)
        return [each for each in commands_of("worker", waitaof=self.waitaof) if each not in log]


@pytest.fixture(scope="module", params=EVERY, ids=str)
async def machine(request: pytest.FixtureRequest) -> AsyncIterator[Machine]:
    promised: Promised = request.param
    async with redis_server(promised.find()) as server:
        yield Machine(server, waitaof=(promised.product, promised.version) != ("redis", "7.0"))


@pytest.fixture(autouse=True)
def empty(machine: Machine) -> Iterator[None]:
    yield
    machine.server.admin("FLUSHALL")


async def test_a_worker_may_do_all_that_the_log_wants(machine: Machine) -> None:
    log = commands_of("eventstore", waitaof=machine.waitaof)
    assert set(log) - set(commands_of("worker", waitaof=machine.waitaof)) == set()


@pytest.mark.parametrize("promise", [*CONTRACT, a_worker_and_its_operator], ids=lambda promise: promise.__name__)
async def test_the_rights_of_the_reference_suffice(machine: Machine, promise: Promise) -> None:
    async with open_store(machine.as_worker(), partitions=1) as store:
        await check_rights(store.log)
        await fill(store, "order-1", 6)
        await promise(machine.server, store)


async def test_without_any_one_of_them_it_is_named_before_anything_is_written(machine: Machine) -> None:
    commands = machine.of_groups()
    assert len(commands) > 20
    silent = []
    for command in commands:
        async with open_store(machine.as_worker(f"-{command}"), partitions=1) as store:
            refused = await refusal_of(store)
        if refused is None:
            silent.append(command)
        else:
            assert refused.reason == "permission"
            assert command.partition("|")[0] in f"{refused}{refused.remedy}".lower(), command
            assert machine.server.admin("KEYS", "*:g:g*") == []
        machine.server.admin("FLUSHALL")
    assert silent == ["xinfo|groups", "xpending", "hkeys"], "which only who looks at groups wants"


async def refusal_of(store: EventStore) -> Unavailable | None:
    """Why a group cannot be made; None if it can."""
    try:
        await ensure_group(store.log, "g", Start("earliest"))
    except Unavailable as error:
        return error
    return None


async def test_a_reader_looks_at_groups_and_verifies_them(machine: Machine) -> None:
    async with open_store(machine.as_worker(), partitions=1) as store:
        await fill(store, "order-1", 6)
        await ensure_group(store.log, "g", Start("earliest"))
    async with open_store(machine.as_worker(name="reader"), partitions=1, read_only=True) as store:
        assert [(group.group, group.lag) for group in await list_groups(store)] == [("g", 6)]
        assert await verify(store.log, checks=[*CHECKS, check_groups]) == []
    async with open_store(machine.as_worker("-zrange", name="reader"), partitions=1, read_only=True) as store:
        with pytest.raises(Unavailable, match=r"can't run this command|zrange"):  # which is no damage
            await verify(store.log, checks=[check_groups])
