"""projections: what an operator sees of read models, and does with them; and the commands that keep them."""

import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.cli.names import projection_names
from tests.support.command import Command, Terminal, interrupt, wait_for_line, wait_until
from tests.support.here import Here
from tests.support.postgres import postgres_server

SHOP = """
from pathlib import Path
from msgspec import Struct
from sqlalchemy import BigInteger, Column, MetaData, Table, Text
from consumers import Fixed
from projections import Rows, projection, redis, sql

class OrderPlaced(Struct, frozen=True):
    day: str
    total: int

order_totals = Table(
    "order_totals", MetaData(),
    Column("day", Text, primary_key=True), Column("orders", BigInteger), Column("total", BigInteger),
)
orders = Table("orders", MetaData(), Column("stream", Text, primary_key=True), Column("total", BigInteger))

@projection("order-totals", sink=sql(order_totals), retry=Fixed("50ms", attempts=3))
def totals(event: OrderPlaced, rows: Rows) -> None:
    if event.total < 0 and not Path("mended").exists():
        raise ValueError("a negative total")
    rows.add(order_totals, {"day": event.day}, orders=1, total=event.total)

@projection("orders", sink=sql(orders, url="sqlite:///apart.sqlite"))
def each_order(event: OrderPlaced, rows: Rows) -> None:
    rows.put(orders, stream=rows.event.stream, total=event.total)

@projection("counter", sink=redis())
def count(event: OrderPlaced, rows: Rows) -> None:
    rows.effects.incrby("orders", 1)
"""
MODELS = ".eventstore/read-models.sqlite"
ALL = {"order-totals": 1, "orders": 1, "counter": 1}


@pytest.fixture
def here(here: Here, cli: Command) -> Here:
    (cli.folder / "shop.py").write_text(SHOP)
    return here


@pytest.fixture
def worker(here: Here, cli: Command) -> Iterator[None]:
    """A worker that has three orders behind it."""
    for number, (day, total) in enumerate([("mon", 5), ("mon", 7), ("tue", 1)], 1):
        place(here, number, day, total)
    work = cli.start("work", "--app", "shop")
    try:
        told = wait_for_line(work, "working for ")
        assert told == "working for projection order-totals, projection orders, projection counter\n"
        wait_until(lambda: live(here) == ALL and lag(here, "order-totals") == 0)
        yield
    finally:
        assert interrupt(work)[0] == 0


def place(here: Here, number: int, day: str, total: int) -> None:
    here.ok("publish", f"order-{number}", "OrderPlaced", f'{{"day": "{day}", "total": {total}}}')


def live(here: Here) -> dict[str, int]:
    """Which generation of each is read."""
    return live_ones(here, "--app", "shop")


def live_ones(here: Here, *arguments: str) -> dict[str, int]:
    found = here.ok("projections", *arguments, "--json").items
    return {each["name"]: one["generation"] for each in found for one in each["generations"] if one["state"] == "live"}


def lag(here: Here, name: str) -> int:
    return sum(one["lag"] for one in here.ok("projections", name, "--json").json["generations"])


def states(here: Here, name: str) -> dict[int, str]:
    found = here.ok("projections", "show", name, "--json").json
    return {one["generation"]: one["state"] for one in found["generations"]}


def rows_of(file: Path, table: str = "order_totals") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as database:
        return sorted(database.execute(f"select * from {table}").fetchall())


def worded(line: str) -> str:
    return re.sub(r" {2,}", " | ", line.strip())


@pytest.mark.usefixtures("worker")
def test_an_operator_sees_each_generation_and_what_fails_in_it(here: Here) -> None:
    header, *lines = map(worded, here.ok("projections").out.splitlines())
    assert header == "PROJECTION | STATE | GENERATION | VERSION | LAG | BEHIND BY | DETACHED | WORKERS"
    assert [line.split(" | ")[:4] for line in lines] == [
        [name, "live", "1", "1"] for name in ("counter", "order-totals")
    ]
    assert {each["sink"] for each in here.ok("projections", "--app", "shop", "--json").items} == {
        "redis",
        f"sqlite:///{MODELS}",
        "sqlite:///apart.sqlite",
    }
    apart = here.ok("projections", "show", "orders", "--database", "sqlite:///apart.sqlite", "--json").json
    assert [one["lag"] for one in apart["generations"]] == [0]
    assert apart == here.ok("projections", "orders", "--app", "shop", "--json").json

    place(here, 4, "wed", -1)
    wait_until(lambda: "a negative total" in here.ok("projections", "order-totals").out, seconds=60)
    shown = here.ok("projections", "order-totals").out
    assert "order-4@1 ValueError: a negative total" in shown
    assert "group     projection.order-totals.1, 1 worker\n" in shown
    (one,) = here.ok("projections", "order-totals", "--json").json["generations"]
    assert (one["detached"], one["letters"][0]["stream"]) == (1, "order-4")
    assert projection_names(Typed("ord")) == ["order-totals", "orders"]


class Typed:
    """What a shell has so far."""

    def __init__(self, incomplete: str) -> None:
        self.incomplete = incomplete


@pytest.mark.usefixtures("worker")
def test_a_rebuild_is_waited_for_rolled_back_and_dropped(here: Here, cli: Command) -> None:
    done = here.ok("projections", "rebuild", "order-totals", "--wait", "--reason", "other totals")
    assert done.out.startswith("generation 2 of order-totals is read now, ")
    assert states(here, "order-totals") == {1: "kept", 2: "live"}
    wanted = [("mon", 2, 12), ("tue", 1, 1)]
    assert rows_of(cli.folder / MODELS) == wanted
    assert here.ok("projections", "rollback", "order-totals").out == "generation 1 of order-totals is read now\n"
    assert states(here, "order-totals") == {1: "live", 2: "kept"}
    assert rows_of(cli.folder / MODELS) == wanted

    nobody = here.run("projections", "drop", "order-totals", "2")
    assert (nobody.code, "  field: --yes\n" in nobody.err) == (2, True)
    read = here.run("projections", "drop", "order-totals", "1", "--yes", "--json")
    assert (read.code, read.problem["code"], read.problem["field"]) == (1, "wrong-state", "GENERATION")
    unknown = here.run("projections", "drop", "order-totals", "7", "--yes")
    assert (unknown.code, "order-totals has no generation 7" in unknown.err) == (4, True)
    terminal = Terminal(cli, "projections", "drop", "order-totals", "2")
    terminal.until(lambda shown: "[y/N]" in shown)
    assert re.search(r"Drop generation 2 of order-totals\? Its rows, of \d+ events, are gone", terminal.shown)
    terminal.press("y\n")
    assert terminal.end() == 0
    assert states(here, "order-totals") == {1: "live"}
    entries = [(each["what"], each["why"], each["facts"]) for each in here.ok("audit", "--json").items]
    assert ("projection-rebuild", "other totals", {"projection": "order-totals", "generation": 2}) in entries
    assert {"projection-rollback", "projection-drop"} <= {what for what, _, _ in entries}


@pytest.mark.usefixtures("worker")
def test_paused_it_stands_still_and_a_rebuild_goes_on_without_the_command(here: Here, cli: Command) -> None:
    here.ok("projections", "pause", "order-totals", "--reason", "maintenance")
    assert "maintenance" in here.ok("projections").out
    place(here, 5, "sun", 9)
    rebuild = cli.start("projections", "rebuild", "order-totals", "--wait", "--app", "shop")
    wait_until(lambda: states(here, "order-totals").get(2) is not None)
    code, _, said = interrupt(rebuild)
    assert (code, "goes on without this command" in said) == (130, True)
    wait_until(lambda: states(here, "order-totals") == {1: "kept", 2: "live"})
    assert ("sun", 1, 9) in rows_of(cli.folder / MODELS)
    assert here.ok("projections", "resume", "order-totals").out.startswith("order-totals goes on, ")
    wait_until(lambda: lag(here, "order-totals") == 0)


@pytest.mark.usefixtures("worker")
def test_a_rebuild_in_which_more_fails_than_before_is_read_once_that_is_dealt_with(here: Here, cli: Command) -> None:
    (cli.folder / "mended").touch()
    place(here, 8, "fri", -1)
    wait_until(lambda: ("fri", 1, -1) in rows_of(cli.folder / MODELS))
    (cli.folder / "mended").unlink()
    rebuild = cli.start("projections", "rebuild", "order-totals", "--wait")
    assert rebuild.stderr is not None
    assert next(line for line in rebuild.stderr if "1 stream fails in it" in line).endswith(
        "eventstore dlq list projection.order-totals.2\n"
    )
    assert states(here, "order-totals") == {1: "live", 2: "building"}
    wait_until(lambda: here.ok("dlq", "list", "projection.order-totals.2", "--json").items != [], seconds=60)
    (cli.folder / "mended").touch()
    here.ok("dlq", "retry", "projection.order-totals.2", "order-8")
    assert rebuild.communicate(timeout=60)[0].startswith("generation 2 of order-totals is read now, ")
    assert ("fri", 1, -1) in rows_of(cli.folder / MODELS)


@pytest.mark.usefixtures("worker")
def test_a_read_model_is_built_as_it_was_and_two_are_compared(here: Here, cli: Command) -> None:
    before = here.ok("tail", "--until-idle", "200ms", "--limit", "3", "--since", "0", "--json").items
    between = max(each["recorded_at"] for each in before)
    place(here, 6, "mon", 30)
    place(here, 7, "sat", 4)
    made = here.ok("projections", "at", "order-totals", "--app", "shop", "--as-of", between, "--out", "then.db")
    assert made.out.startswith("then.db has order_totals of order-totals, made of ")
    assert rows_of(cli.folder / "then.db") == [("mon", 2, 12), ("tue", 1, 1)]
    assert sorted(each.name for each in cli.folder.glob("then.db*")) == ["then.db"]
    again = here.run("projections", "at", "order-totals", "--app", "shop", "--as-of", between, "--out", "then.db")
    assert (again.code, "  field: --out\n" in again.err) == (2, True)

    past = ("projections", "at", "order-totals", "--app", "shop", "--as-of", "-1h", "--out", "empty.db", "--json")
    shape = here.ok(*past).json
    assert shape == {"projection": "order-totals", "file": "empty.db", "events": 0, "tables": ["order_totals"]}

    words = ("projections", "diff", "order-totals", "--app", "shop", "--from", between, "--to", "-0s")
    assert here.ok(*words).out.splitlines() == [
        "+ order_totals day='sat': orders=1, total=4",
        "~ order_totals day='mon': orders=2 -> 3, total=12 -> 42",
        "order_totals: 1 added, 0 removed, 1 changed",
    ]
    changes = here.ok(*words, "--json").items
    assert changes[0] == {
        "table": "order_totals",
        "change": "added",
        "key": {"day": "sat"},
        "before": None,
        "after": {"day": "sat", "orders": 1, "total": 4},
    }
    assert changes[1]["before"] == {"day": "mon", "orders": 2, "total": 12}
    back = here.ok("projections", "diff", "order-totals", "--app", "shop", "--from", "-0s", "--to", between)
    assert back.out.splitlines()[0] == "- order_totals day='sat': orders=1, total=4"


def test_what_cannot_be_built_leaves_no_file(here: Here, cli: Command) -> None:
    place(here, 1, "mon", -1)
    failed = here.run("projections", "at", "order-totals", "--app", "shop", "--as-of", "-0s", "--out", "then.db")
    assert (failed.code, "ValueError: a negative total" in failed.err) == (1, True)
    assert list(cli.folder.glob("then.db*")) == []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("show", "nothing"), 4, "there is no projection nothing"),
        (
            ("at", "nothing", "--app", "shop", "--as-of", "-1h", "--out", "x"),
            4,
            "module shop has no projection nothing",
        ),
        (("at", "orders", "--app", "json", "--as-of", "-1h", "--out", "x"), 2, "module json has no projection"),
        (("at", "orders", "--app", "shop", "--as-of", "soon", "--out", "x"), 2, "  field: --as-of\n"),
        (("at", "counter", "--app", "shop", "--as-of", "-1h", "--out", "x"), 2, "has no tables"),
        (("list", "--database", "mysql://h/d"), 2, "read models are not kept in mysql"),
        (("list", "--database", "sqlite:///none.db"), 2, "there is no file none.db"),
        (("list", "--database", "none.db"), 2, "is no URL of a database"),
    ],
)
def test_what_is_not_there_or_not_meant_is_refused(
    here: Here, arguments: tuple[str, ...], code: int, says: str
) -> None:
    failed = here.run("projections", *arguments)
    assert (failed.code, says in failed.err) == (code, True), failed.err
    assert failed.out == ""


def test_a_look_makes_no_database(here: Here, cli: Command) -> None:
    assert here.ok("projections").out == ""
    assert not (cli.folder / ".eventstore").exists()
    (failed,) = [here.run("replay", "projection.order-totals.1", "--to", "earliest")]
    assert (failed.code, "hint:  eventstore projections rebuild order-totals" in failed.err) == (2, True)


def test_up_keeps_the_built_in_read_models_unless_it_is_told_not_to(here: Here, cli: Command) -> None:
    place(here, 1, "mon", 5)
    up = cli.start("up", "--app", "shop")
    assert wait_for_line(up, "keeping ") == "keeping read models: streams, correlations, sagas\n"
    wait_until(lambda: live(here) == {**ALL, "streams": 1, "correlations": 1, "sagas": 1})
    wait_until(lambda: [row[:2] for row in rows_of(cli.folder / MODELS, "streams")] == [("order-1", "order")])
    assert interrupt(up)[0] == 0
    without = cli.start("up", "--no-read-models", "--json")
    assert '"projections":[]' in wait_for_line(without, "{")
    assert interrupt(without)[0] == 0


def test_up_waits_for_a_database_that_cannot_be_used_and_says_so_once(here: Here, cli: Command) -> None:
    place(here, 1, "mon", 5)
    (cli.folder / ".eventstore").write_text("no folder")
    up = cli.start("up")
    assert up.stderr is not None
    later = (line for line in up.stderr if "projection_later" in line)
    assert len({next(later) for _ in range(3)}) == 3  # one of each
    assert here.ok("projections").out == ""
    (cli.folder / ".eventstore").unlink()
    (cli.folder / ".eventstore").mkdir()
    wait_until(lambda: live_ones(here) == {"streams": 1, "correlations": 1, "sagas": 1})
    code, _, said = interrupt(up)
    assert (code, said.count("projection_later"), said.count("projection_goes_on")) == (0, 0, 3)


def test_they_are_in_postgresql_where_the_settings_say_so(
    here: Here, cli: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres_server() as server:
        at = sa.make_url(server.new_database())
        settings = {"HOST": at.host, "PORT": at.port, "DB": at.database, "USER": at.username}
        for name, value in settings.items():
            monkeypatch.setenv(f"POSTGRES_{name}", str(value))
            cli.environment[f"POSTGRES_{name}"] = str(value)
        place(here, 1, "mon", 5)
        work = cli.start("work", "--app", "shop", "--group", "projection.order-totals")
        assert wait_for_line(work, "working") == "working for projection order-totals\n"
        wait_until(lambda: "order-totals" in here.ok("projections").out and lag(here, "order-totals") == 0)
        (one,) = here.ok("projections", "--json").items
        assert one["sink"].startswith("postgresql://tests@127.0.0.1:")
        here.ok("projections", "rebuild", "order-totals", "--wait")
        engine = sa.create_engine(at.set(drivername="postgresql+psycopg"))
        with engine.connect() as connection:
            rows = connection.execute(sa.text("select day, orders, total from order_totals")).all()
        engine.dispose()
        assert rows == [("mon", 1, 5)]
        here.ok("projections", "drop", "order-totals", "1", "--yes")
        assert interrupt(work)[0] == 0


def test_work_keeps_them_on_request_alone(cli: Command) -> None:
    cli.ok("publish", "order-1", "OrderPlaced", "{}")
    work = cli.start("work", "--read-models")
    assert (
        wait_for_line(work, "working") == "working for projection streams, projection correlations, projection sagas\n"
    )
    wait_until(lambda: "streams" in cli.ok("projections").out)
    assert interrupt(work)[0] == 0
    failed = cli.run("work")
    assert (failed.code, "--app MODULE, or --read-models" in failed.err) == (2, True)


def test_where_the_extra_is_missing_a_word_says_so(cli: Command) -> None:
    (cli.folder / "sitecustomize.py").write_text("import sys; sys.modules['sqlalchemy'] = None")  # not there
    environment = {"PYTHONPATH": f"{cli.folder}:{cli.environment['PYTHONPATH']}"}
    says = "pip install 'redis-eventstore[sql]'"
    failed = cli.run("projections", **environment)
    assert (failed.code, says in failed.err) == (2, True)
    (cli.folder / "shop.py").write_text(SHOP)
    unimported = cli.run("work", "--app", "shop", **environment)
    assert (unimported.code, f"hint:  {says}" in unimported.err) == (2, True)
    cli.environment |= environment
    up = cli.start("up")
    wait_for_line(up, "stop it")
    code, _, said = interrupt(up)
    assert (code, f"no read models are kept: {says}" in said) == (0, True)


@pytest.mark.parametrize("verb", ["list", "show", "pause", "resume", "rebuild", "rollback", "drop", "at", "diff"])
def test_the_help_of_a_verb_ends_with_an_example_of_it(here: Here, verb: str) -> None:
    lines = here.ok("projections", verb, "--help").out.rstrip().splitlines()
    words = shlex.split(lines[-1])
    assert words[:3] == ["eventstore", "projections", verb]
    assert max(map(len, lines)) <= 80
    known = here.run(*words[1:])
    assert known.code in (0, 2, 4), known.err  # there is no such projection, or module
    assert "Unknown option" not in known.err
    assert "requires an argument" not in known.err
