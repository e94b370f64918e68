"""A server that refuses to write, in each way that servers have: the error names it, says that nothing was written, and
the next append works once the trouble is over."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import anyio.to_thread
import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from eventstore import EventStore, OutcomeUnknown, Receipt, Unavailable, WrongExpectedVersion
from infrastructure.server_program import find_program
from tests.support.servers import Server, redis_server, tries, until
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio

NO_PATIENCE_SECONDS = 0.2
PATIENCE_SECONDS = 20.0
Trouble = Callable[[Server], AbstractAsyncContextManager[None]]


@pytest.fixture(params=["redis-server", "embedded"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    binary = find_program() if request.param == "embedded" else request.param
    args = ["--enable-debug-command", "local", "--enable-protected-configs", "local"]
    async with redis_server(binary, args) as server:
        yield server


@asynccontextmanager
async def full_memory(server: Server) -> AsyncIterator[None]:
    server.admin("CONFIG", "SET", "maxmemory", "1")
    yield
    server.admin("CONFIG", "SET", "maxmemory", "0")


@asynccontextmanager
async def made_a_replica(server: Server) -> AsyncIterator[None]:
    """Of a primary that nobody can reach: what the replica has stays as it is."""
    server.admin("REPLICAOF", "127.0.0.1", "1")
    yield
    server.admin("REPLICAOF", "NO", "ONE")


@asynccontextmanager
async def failing_disk(server: Server) -> AsyncIterator[None]:
    gone = server.folder / "gone"
    gone.mkdir()
    server.admin("CONFIG", "SET", "dir", str(gone))
    server.admin("CONFIG", "SET", "save", "3600 1")
    gone.rmdir()
    server.admin("BGSAVE")
    await until(lambda: b"rdb_last_bgsave_status:err" in server.admin("INFO", "persistence"))
    yield
    server.admin("CONFIG", "SET", "dir", str(server.folder))
    server.admin("CONFIG", "SET", "save", "")


@asynccontextmanager
async def too_few_replicas(server: Server) -> AsyncIterator[None]:
    server.admin("CONFIG", "SET", "min-replicas-to-write", "1")
    yield
    server.admin("CONFIG", "SET", "min-replicas-to-write", "0")


@asynccontextmanager
async def another_password(server: Server) -> AsyncIterator[None]:
    server.admin("CONFIG", "SET", "requirepass", "another")
    server.admin("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    yield
    server.admin("CONFIG", "SET", "requirepass", "")


@asynccontextmanager
async def no_right_to_run_scripts(server: Server) -> AsyncIterator[None]:
    server.admin("ACL", "SETUSER", "default", "-evalsha")
    yield
    server.admin("ACL", "SETUSER", "default", "+evalsha")


@asynccontextmanager
async def somebodys_endless_script(server: Server) -> AsyncIterator[None]:
    server.admin("CONFIG", "SET", "busy-reply-threshold", "10")

    def run() -> None:
        # `admin` would send it again after 10 s
        once = redis.Redis(port=server.port, socket_timeout=None, retry=Retry(NoBackoff(), 0))
        with once, pytest.raises(ResponseError, match="killed by user"):
            once.eval("while true do end", 0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, run)
        await until(lambda: _is_busy(server))
        yield
        server.admin("SCRIPT", "KILL")


def _is_busy(server: Server) -> bool:
    try:
        server.admin("PING")
    except ResponseError as error:
        return "BUSY" in repr(error) or "busy running a script" in str(error)
    return False


TROUBLES: list[tuple[Trouble, str, str]] = [
    (full_memory, "out-of-memory", "raise maxmemory"),
    (made_a_replica, "read-only", "name the primary"),
    (failing_disk, "disk", "free disk space"),
    (too_few_replicas, "no-replicas", "start the missing replicas"),
    (another_password, "authentication", "redis.password"),
    (no_right_to_run_scripts, "permission", "ACL SETUSER"),
    (somebodys_endless_script, "busy", "SCRIPT KILL"),
]


@pytest.mark.parametrize(("trouble", "reason", "remedy"), TROUBLES, ids=[each[0].__name__ for each in TROUBLES])
async def test_a_server_that_refuses_is_told_and_nothing_is_written(
    server: Server, trouble: Trouble, reason: str, remedy: str
) -> None:
    async with open_store(server) as store:
        await store.append("order-1", [Noted(1)])
        before = server.admin("DEBUG", "DIGEST")
        async with trouble(server):
            refusal = await _refusal(store)
        assert (refusal.reason, refusal.maybe_ran) == (reason, False)
        assert remedy in str(refusal.remedy)
        assert server.address in refusal.detail or "server" in refusal.detail
        assert "user_script" not in refusal.detail
        assert server.admin("DEBUG", "DIGEST") == before
        assert (await store.append("order-1", [Noted(2)])).version == 2


async def _refusal(store: EventStore) -> Unavailable:
    """What an append is told at its deadline. If that falls into a try whose answer is on its way, as it may on a busy
    machine, the append is told of a doubt, rightly: another one is made."""
    async for _ in tries():
        try:
            await store.append("order-1", [Noted(2)], timeout_seconds=NO_PATIENCE_SECONDS)
        except OutcomeUnknown:
            continue
        except Unavailable as error:
            return error
    raise AssertionError("the server took the append")


async def test_what_a_demoted_primary_still_has_refuses_no_append(server: Server) -> None:
    """Only the primary of now knows at which version a stream is."""
    async with open_store(server) as store:
        await store.append("order-1", [Noted(1)])
        async with made_a_replica(server):
            with pytest.raises(Unavailable) as caught:
                await store.append("order-1", [Noted(2)], expected=0, timeout_seconds=NO_PATIENCE_SECONDS)
        assert (caught.value.reason, caught.value.maybe_ran) == ("read-only", False)
        with pytest.raises(WrongExpectedVersion):
            await store.append("order-1", [Noted(2)], expected=0)


@pytest.mark.parametrize("trouble", [full_memory, made_a_replica, failing_disk])
async def test_an_append_waits_for_the_end_of_a_trouble(server: Server, trouble: Trouble) -> None:
    receipts: list[Receipt] = []

    async def append(store: EventStore) -> None:
        receipts.append(await store.append("order-1", [Noted(1)], timeout_seconds=PATIENCE_SECONDS))

    async with open_store(server) as store, anyio.create_task_group() as tasks:
        async with trouble(server):
            tried = server.calls_of("evalsha")
            tasks.start_soon(append, store)
            await until(lambda: server.calls_of("evalsha") >= tried + 2)
        await until(lambda: bool(receipts))
        assert await store.version("order-1") == 1


async def test_a_right_that_is_lost_in_the_middle_of_a_script_leaves_a_doubt(server: Server) -> None:
    """The script has written the event when it comes to the list that it may not write."""
    async with open_store(server) as store:
        server.admin("ACL", "SETUSER", "default", "-rpush")
        with pytest.raises(OutcomeUnknown, match=r"can't run this command|ACL failure in script"):
            await store.append("order-1", [Noted(1)], timeout_seconds=1)
        server.admin("ACL", "SETUSER", "default", "+rpush")
