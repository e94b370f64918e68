"""Pages, and the epochs that come with them: only to those who do not know them."""

from collections.abc import AsyncIterator

import pytest

from eventstore import EventStore
from eventstore.epochs import Chain, parse
from eventstore.pages import PartitionPage, StreamPage, partition_page, stream_page
from tests.support.fixtures import debuggable_fixture
from tests.support.logs import Failover, fill
from tests.support.servers import Server
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio

EPOCHS, EACH = 20, 5


server = debuggable_fixture()


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    """20 epochs of 5 events, two streams in turn."""
    async with open_store(server.settings, partitions=1) as store:
        for i in range(EPOCHS):
            await fill(store, f"order-{i % 2}", EACH)
            Failover(server).restart()
        yield store


async def of_partition(
    store: EventStore, known: Chain | None, first: int, last: int = 0, *, backwards: bool = False
) -> PartitionPage:
    return await partition_page(store.log, 0, first, last, known=known, backwards=backwards)


async def of_stream(store: EventStore, known: Chain | None, first: int, *, backwards: bool = False) -> StreamPage:
    return await stream_page(
        store.log, "order-1", 0, first, 0, backwards=backwards, events=99, size=1 << 20, known=known
    )


async def known(store: EventStore) -> Chain:
    page = await of_partition(store, None, 1)
    assert page.epochs is not None
    return parse(page.epochs)


async def test_a_page_of_an_unchanged_history_carries_no_epochs(store: EventStore) -> None:
    chain = await known(store)
    assert len(chain) == EPOCHS
    assert (await of_partition(store, chain, 1)).epochs is None
    assert (await of_partition(store, chain, 30, backwards=True)).epochs is None
    assert (await of_stream(store, chain, 1)).page.epochs is None
    assert (await of_stream(store, None, 1)).page.epochs is not None


async def test_a_new_epoch_is_told_with_all_before_it(server: Server, store: EventStore) -> None:
    chain = await known(store)
    Failover(server).restart()
    assert (await of_partition(store, chain, 1)).epochs is None  # nothing was appended in it
    await fill(store, "order-1", 1)
    page, by_stream = await of_partition(store, chain, 1), await of_stream(store, chain, 1)
    assert page.epochs is not None
    assert page.epochs == by_stream.page.epochs
    assert parse(page.epochs)[:-1] == chain


async def test_an_epoch_that_was_lost_is_told_by_what_is_left(server: Server, store: EventStore) -> None:
    Failover(server).replicated()
    before = await known(store)
    await fill(store, "order-1", 1)
    chain = await known(store)
    Failover(server).happen()
    page = await of_partition(store, chain, 1)
    assert page.epochs is not None
    assert parse(page.epochs) == before != chain


async def test_the_same_entries_come_whatever_is_known_of_their_epochs(store: EventStore) -> None:
    chain, head = await known(store), EPOCHS * EACH
    for first in (1, EACH, EACH + 1, 42, head - EACH, head, head + 1):
        for last in (0, 1, 42, head, head + 9):
            for backwards in (False, True):
                pages = [await of_partition(store, k, first, last, backwards=backwards) for k in (None, chain)]
                assert list(pages[0].entries) == list(pages[1].entries)
    for backwards in (False, True):
        for version in (0, 1, 7, 50):
            unknowing, knowing = [await of_stream(store, k, version, backwards=backwards) for k in (None, chain)]
            assert unknowing.page.entries == knowing.page.entries != []


async def test_an_empty_log_has_no_epochs_and_says_so_once(server: Server) -> None:
    async with open_store(server.settings, partitions=1, prefix="empty") as store:
        assert (await of_partition(store, None, 1)).epochs == b""
        assert (await of_partition(store, (), 1)).epochs is None
        await fill(store, "order-1", 1)
        assert (await of_partition(store, (), 1)).epochs is not None
