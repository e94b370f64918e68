"""What partitions of one worker ask of a database at the same time is one transaction, and fails for each by itself."""

from collections.abc import Iterator, Sequence
from threading import Event as ThreadEvent

import anyio
import pytest
import sqlalchemy as sa

from consumers.state import Effect
from projections.checkpoint import BadChange, Part, Refused, Step
from projections.sinks.sql import SqlSink
from projections.together import Together
from tests.support.servers import tries
from tests.support.sinks import SqlUnderTest, counters

pytestmark = pytest.mark.anyio
PARTS = 4


class Counted(SqlSink):
    """Notes how many parts each transaction is of; the first one waits to be let go."""

    def __init__(self, url: str) -> None:
        super().__init__(url, (counters,))
        self.transactions: list[int] = []
        self.go = ThreadEvent()

    def apply_all(self, asked: Sequence[tuple[Part, Step, Sequence[Effect]]]) -> None:
        self.transactions.append(len(asked))
        assert len(self.transactions) > 1 or self.go.wait(20)
        super().apply_all(asked)


@pytest.fixture
def sink(database: str) -> Iterator[Counted]:
    made = Counted(database)
    begun = made.begin(SqlUnderTest(database).generation())
    made.prepare(begun)
    for partition in range(PARTS):
        made.claim(_part(partition), 5)
    yield made
    made.close()


async def test_what_comes_meanwhile_goes_out_together(sink: Counted) -> None:
    assert await _all(sink, {}) == [None] * PARTS
    assert sink.transactions == [1, PARTS - 1]
    assert _counts(sink) == {"all": PARTS}


async def test_a_part_that_another_has_claimed_is_refused_alone(sink: Counted) -> None:
    sink.claim(_part(2), 6)
    first, second, third, last = await _all(sink, {})
    assert isinstance(third, Refused)
    assert third.term == 6
    assert [first, second, last] == [None] * 3
    assert _counts(sink) == {"all": PARTS - 1}


async def test_a_change_that_is_refused_is_told_to_who_asked_for_it(sink: Counted) -> None:
    bad = SqlUnderTest("").refused()
    outcomes = await _all(sink, {1: bad})
    assert isinstance(outcomes[1], BadChange)
    assert outcomes[1].index == 1
    assert [*outcomes[:1], *outcomes[2:]] == [None] * 3
    assert _counts(sink) == {"all": PARTS - 1}


async def test_who_is_broken_off_takes_no_other_along(sink: Counted) -> None:
    together = Together(sink)
    done: list[int] = []

    async def ask(partition: int) -> None:
        await together.apply(_part(partition), Step(5, 1, (1, 1), "", {}), [_one()])
        done.append(partition)

    async with anyio.create_task_group() as tasks, anyio.create_task_group() as broken:
        broken.start_soon(ask, 0)
        await _until_asked(sink)
        tasks.start_soon(ask, 1)
        broken.start_soon(ask, 2)
        await anyio.wait_all_tasks_blocked()
        broken.cancel_scope.cancel()
        sink.go.set()
    assert {*done} - {0} == {1}
    assert _counts(sink) == {"all": 2}, "what was under way was written, what waited was not"


async def _all(sink: Counted, also: dict[int, Effect]) -> list[Exception | None]:
    """All parts ask, the others while the first one's transaction is open; what became of each."""
    together = Together(sink)
    outcomes: list[Exception | None] = [None] * PARTS

    async def ask(partition: int) -> None:
        changes = [_one(), *([also[partition]] if partition in also else [])]
        try:
            await together.apply(_part(partition), Step(5, 1, (1, 1), "", {}), changes)
        except (Refused, BadChange) as error:
            outcomes[partition] = error

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, 0)
        await _until_asked(sink)
        for partition in range(1, PARTS):
            tasks.start_soon(ask, partition)
        await anyio.wait_all_tasks_blocked()
        sink.go.set()
    return outcomes


async def _until_asked(sink: Counted) -> None:
    async for _ in tries(20):
        if sink.transactions:
            return


def _part(partition: int) -> Part:
    return Part(SqlUnderTest("").generation().projection, 1, partition)


def _one() -> Effect:
    return SqlUnderTest("").added("all", 1)


def _counts(sink: SqlSink) -> dict[str, int]:
    return {row["name"]: row["n"] for row in sink.read(sa.select(sink.of(1)["counters"]))}
