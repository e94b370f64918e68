"""What a store has of connections, and whether each still gives the replies to its own questions."""

from collections.abc import Iterator
from functools import partial
from uuid import uuid4

from eventstore import EventStore
from infrastructure.pools import Node, Pool
from infrastructure.tasks import together
from tests.support.servers import Server, until


def nodes(store: EventStore) -> Iterator[Node]:
    yield from store.log.redis._routes.masters().values()


def in_use(pool: Pool) -> int:
    return pool._limit - pool._free.value


def calls_under_way(store: EventStore) -> int:
    return sum(in_use(node.calls) for node in nodes(store))


async def connections_are_well(store: EventStore, servers: list[Server]) -> None:
    """Soon no connection is in use but those that block (the call of a cancelled append may still be under way), the
    servers know those that the store has, and no others; on every one the next reply is that to the next question."""
    await until(lambda: not calls_under_way(store))
    for node in nodes(store):
        answers = [partial(_echo, node) for _ in range(len(node.calls._idle))]
        assert all(await together(answers)) if answers else True
    await until(lambda: _known(servers) == _had(store))


async def _echo(node: Node) -> bool:
    word = uuid4().bytes
    replies = await node.calls.exchange(("ECHO", word), ("PING",))
    return bool(replies == [word, b"PONG"])


def _had(store: EventStore) -> int:
    return sum(len(node.calls._idle) + len(node.blocks._idle) + in_use(node.blocks) for node in nodes(store))


def _known(servers: list[Server]) -> int:
    return sum(len(server.clients()) - 1 for server in servers)  # without that of the test
