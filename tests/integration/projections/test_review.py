"""What a hostile reader of the code has found: each was wrong once."""

from collections.abc import Callable, Iterator
from threading import Event as ThreadEvent
from typing import Any

import anyio
import anyio.to_thread
import pytest
import sqlalchemy as sa

from consumers.state import Effect
from eventstore.errors import InvalidRequest
from eventstore.jobs import WrongState
from projections import sql
from projections.checkpoint import BadChange, Part, Step
from projections.errors import ReadModelUnavailable
from projections.rows import PUT
from projections.sinks.sql import SqlSink
from tests.support.postgres import Postgres
from tests.support.projected import added, begun, slip, totals
from tests.support.servers import tries

pytestmark = pytest.mark.anyio
PART = Part("counts", 1, 0)


REFUSED = {
    "nothing is added to": [added("a", events=None), added("a", events=1)],
    "a key that is a dict": [added({"a": 1}, events=1)],
    "a number that is too large": [added("a", events=2**70)],
    "text that is none": [added("\ud800", events=1)],
    "a slip in SQL": [slip(sa.text("UPDAT totals"))],
    "no statement at all": [slip("UPDATE totals SET events = 1")],
    "an object": [added("a", events=object())],
}


@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED.keys())
def test_what_no_repetition_mends_is_told_of_its_change(opened: Callable[..., SqlSink], changes: list[Effect]) -> None:
    """Each ended the worker by an error that nobody expected, or was repeated for ever."""
    sink = opened()
    begun(sink)
    sink.claim(PART, 1)
    with pytest.raises(BadChange) as raised:
        sink.apply(PART, Step(1, 1, (1, 1), "", {}), [added("good", events=1), *changes])
    assert raised.value.index >= 1
    sink.apply(PART, Step(1, 1, (1, 1), "", {}), [added("good", events=1)])
    assert [row["events"] for row in sink.read(sa.select(sink.of(1)["totals"]))] == [1]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)  # SQLite takes any
def test_a_key_that_no_index_takes_is_told_of_its_change(opened: Callable[..., SqlSink], database: str) -> None:
    sink = opened()
    begun(sink)
    sink.claim(PART, 1)
    key = "".join(chr(33 + i * i % 89) + chr(33 + i * 7 % 83) for i in range(40_000))
    with pytest.raises(BadChange):
        sink.apply(PART, Step(1, 1, (1, 1), "", {}), [Effect(PUT, "totals", (("name",), (key,)))])


# ---- whose a table is, and what it may be called ----


def test_a_table_is_of_one_projection(opened: Callable[..., SqlSink]) -> None:
    """Both wrote into the same rows, each of which counted twice."""
    begun(opened(), "counts")
    with pytest.raises(InvalidRequest, match="belongs to the projection counts"):
        begun(opened(), "others")
    begun(opened(), "counts", version=2)


@pytest.mark.parametrize(
    "names", [["t" * 51], ["\u00fc" * 26], ["a,b"], ["eventstore_checkpoints"], ["a", "a__1"], ["a", "A"]]
)
def test_names_that_would_meet_others_are_refused(names: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="the name of table"):
        sql(*(_table(name) for name in names))


@pytest.mark.parametrize("name", ["t" * 50, "order", "Select", 'we"ird', "per%cent", "a b", "colon:x", "q?"])
def test_any_other_name_will_do(opened: Callable[..., SqlSink], name: str) -> None:
    table = _table(name, sa.Column("c" * 30, sa.Integer, index=True), sa.Column("or%der x(:", sa.Integer))
    sink = opened(*sql(table).tables)
    for number in (1, 2):
        begun(sink)
        part = Part("counts", number, 0)
        sink.claim(part, 1)
        sink.apply(part, Step(1, 1, (1, 1), "", {}), [Effect(PUT, name, (("name", "or%der x(:"), ("x", 5)))])
        sink.switch("counts", number)
    assert sink.read(sa.select(table)) == [{"name": "x", "n": None, "c" * 30: None, "or%der x(:": 5}]


def test_a_table_that_is_in_the_way_is_told(opened: Callable[..., SqlSink]) -> None:
    """On PostgreSQL it ended the worker."""
    sink = opened()
    _run(sink, "CREATE TABLE totals (name TEXT)")
    begun(sink)
    with pytest.raises(ReadModelUnavailable, match="there is a table totals"):
        sink.switch("counts", 1)
    _run(sink, "DROP TABLE totals")
    sink.switch("counts", 1)
    assert sink.read(sa.select(totals)) == []


def test_an_enumeration_may_grow(opened: Callable[..., SqlSink]) -> None:
    """One type for all generations refused what a newer version knows."""
    with pytest.raises(InvalidRequest, match="enumeration"):
        sql(_table("totals", sa.Column("kind", sa.Enum("x", name="kind_of"))))
    for version, kinds in enumerate((["x"], ["x", "y"]), 1):
        table = _table("totals", sa.Column("kind", sa.Enum(*kinds, name="kind_of", native_enum=False)))
        sink = opened(*sql(table).tables)
        begun(sink, version=version)
        part = Part("counts", version, 0)
        sink.claim(part, 1)
        sink.apply(part, Step(1, 1, (1, 1), "", {}), [Effect(PUT, "totals", (("name", "kind"), ("a", kinds[-1])))])
        sink.switch("counts", version)
        assert [row["name"] for row in sink.read(sa.select(table).where(table.c.kind == kinds[-1]))] == ["a"]


# ---- switching and dropping ----


def test_a_table_that_a_newer_version_has_not_goes_with_its_view(opened: Callable[..., SqlSink]) -> None:
    """PostgreSQL never dropped it, SQLite left a view of nothing."""
    old, new = opened(_table("totals"), _table("extra")), opened(_table("totals"))
    begun(old)
    old.switch("counts", 1)
    begun(new, version=2)
    new.switch("counts", 2)
    assert "extra" not in _names(new)
    old.switch("counts", 1)
    assert "extra" in _names(new)
    old.switch("counts", 2)
    new.drop("counts", 1)
    assert _names(new) & {"extra", "extra__1", "totals", "totals__1", "totals__2"} == {"totals", "totals__2"}


def test_what_is_read_is_not_dropped(opened: Callable[..., SqlSink]) -> None:
    """It may have become so since somebody looked."""
    sink = opened()
    begun(sink)
    sink.switch("counts", 1)
    with pytest.raises(WrongState):
        sink.drop("counts", 1)
    assert sink.read(sa.select(totals)) == []
    assert [each.state for each in sink.generations("counts")] == ["live"]


@pytest.fixture
def on_postgres(postgres: Postgres) -> Iterator[SqlSink]:
    sink = SqlSink(postgres.new_database(), (totals,))
    yield sink
    sink.close()


async def test_of_two_switches_at_once_one_stands(on_postgres: SqlSink) -> None:
    """Both were live: a query waited for one, and read the other."""
    sink = on_postgres
    for version in (1, 2, 3):
        begun(sink, version=version)
    sink.switch("counts", 1)
    stands, go_on = ThreadEvent(), ThreadEvent()

    def hold(connection: sa.Connection, cursor: Any, statement: str, *_: Any) -> None:
        if "VIEW" in statement and not stands.is_set():
            stands.set()
            go_on.wait(20)

    sa.event.listen(sink._engine, "before_cursor_execute", hold)
    waiting = sa.text("SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, sink.switch, "counts", 2)
            assert await anyio.to_thread.run_sync(stands.wait, 10)
            tasks.start_soon(anyio.to_thread.run_sync, sink.switch, "counts", 3)
            async for _ in tries():
                if (await anyio.to_thread.run_sync(sink.read, waiting))[0]["n"]:
                    break
            go_on.set()
    finally:
        go_on.set()
    assert [(each.number, each.state) for each in sink.generations("counts")] == [(1, "kept"), (2, "kept"), (3, "live")]


def test_who_may_read_and_what_is_made_of_it_outlives_a_switch(on_postgres: SqlSink) -> None:
    sink = on_postgres
    begun(sink)
    sink.switch("counts", 1)
    _run(sink, "CREATE VIEW mine AS SELECT * FROM totals", "GRANT SELECT ON totals TO pg_monitor")
    begun(sink)
    sink.switch("counts", 2)
    allowed = sink.read(sa.text("SELECT has_table_privilege('pg_monitor', 'totals', 'SELECT') AS it"))
    assert (allowed, sink.read(sa.text("SELECT * FROM mine"))) == ([{"it": True}], [])


def test_a_view_that_is_in_the_way_of_other_columns_is_told(on_postgres: SqlSink) -> None:
    sink = on_postgres
    begun(sink)
    sink.switch("counts", 1)
    _run(sink, "CREATE VIEW mine AS SELECT * FROM totals")
    newer = SqlSink(sink._engine.url.render_as_string(hide_password=False), (_table("totals"),))
    try:
        begun(newer, version=2)
        with pytest.raises(ReadModelUnavailable, match="other views are made of totals"):
            newer.switch("counts", 2)
        _run(sink, "DROP VIEW mine")
        newer.switch("counts", 2)
        assert newer.read(sa.select(*newer.tables)) == []
    finally:
        newer.close()


def test_a_reader_of_before_reads_other_columns_after_a_switch(on_postgres: SqlSink) -> None:
    """A plan that the server kept was refused once."""
    sink = on_postgres
    begun(sink)
    sink.switch("counts", 1)
    for _ in range(10):  # until it is kept
        sink.read(sa.text("SELECT * FROM totals"))
    newer = SqlSink(sink._engine.url.render_as_string(hide_password=False), (_table("totals"),))
    try:
        begun(newer, version=2)
        newer.switch("counts", 2)
    finally:
        newer.close()
    assert sink.read(sa.text("SELECT * FROM totals")) == []


def test_a_server_that_takes_no_writes_and_a_pool_that_is_empty_may_pass(on_postgres: SqlSink) -> None:
    """A standby, before it is promoted. Either ended the worker."""
    sink = on_postgres
    begun(sink)
    sink.claim(PART, 1)
    sink._engine.pool._timeout = 0.05  # type: ignore[attr-defined]
    connections = [sink._engine.connect() for _ in range(15)]
    with pytest.raises(ReadModelUnavailable):
        sink.apply(PART, Step(1, 1, (1, 1), "", {}), [])
    for each in connections:
        each.close()
    _run(sink, f"ALTER DATABASE {sink._engine.url.database} SET default_transaction_read_only = on")
    sink._engine.dispose()
    with pytest.raises(ReadModelUnavailable):
        sink.apply(PART, Step(1, 1, (1, 1), "", {}), [])


def _table(name: str, *more: sa.Column[Any]) -> sa.Table:
    return sa.Table(
        name, sa.MetaData(), sa.Column("name", sa.Text, primary_key=True), sa.Column("n", sa.BigInteger), *more
    )


def _run(sink: SqlSink, *statements: str) -> None:
    with sink._engine.begin() as connection:
        for each in statements:
            connection.exec_driver_sql(each)


def _names(sink: SqlSink) -> set[str]:
    found = sa.inspect(sink._engine)
    return {*found.get_table_names(), *found.get_view_names()}
