"""replay and replays: what an operator plans, runs, follows and takes back."""

import re
import shlex

import anyio
import pytest
from msgspec.structs import replace

from consumers import replay
from consumers.membership import Members, new_member
from eventstore import EventStore
from infrastructure.settings import LogSettings, Settings
from tests.support.command import Command, Terminal
from tests.support.here import Here
from tests.support.replays import Seen, until_lag_is, until_over
from tests.support.running import running
from tests.support.servers import Server
from tests.support.stores import Noted

EVENTS = 10


@pytest.fixture
def here(here: Here, cli: Command, server: Server) -> Here:
    """With a group `mailer` that has handled ten events of each of four streams."""
    anyio.run(_handle_all, cli, server)
    return here


def settings_of(cli: Command, server: Server) -> Settings:
    log = LogSettings(prefix=cli.environment["EVENTSTORE_PREFIX"], partitions=4)
    return Settings(redis=server.settings, eventstore=log)


async def _handle_all(cli: Command, server: Server) -> None:
    async with EventStore.open(settings=settings_of(cli, server), types=[Noted]) as store:
        for i in range(4):
            await store.append(f"order-{i}", [Noted(n) for n in range(EVENTS)])
        async with running(store, Seen().consumer("mailer")):
            await until_lag_is(store, 0, "mailer")


async def _work(cli: Command, server: Server) -> None:
    """A worker comes, and goes when all is handled."""
    await _handle_all(cli, server)


async def _a_member_lives(cli: Command, server: Server) -> None:
    async with EventStore.open(settings=settings_of(cli, server)) as store:
        member = new_member(1_795_600_215_640_217)
        handlers = {"charge": "drop", "refund": "emit", "send_receipt": "skip"}
        member = replace(member, handlers=handlers, rate=20.0)
        await Members(store.log, "mailer", ttl_seconds=3_600).heartbeat(member)


def offsets(here: Here) -> list[int]:
    return [each["offset"] for each in here.ok("--json", "groups", "mailer").json["partitions"]]


def test_a_plan_is_shown_and_nothing_is_changed(here: Here, cli: Command, server: Server) -> None:
    anyio.run(_a_member_lives, cli, server)
    before = offsets(here)
    shown = here.ok("replay", "mailer", "--to", "earliest", "--reason", "a bad deploy").out.splitlines()
    assert offsets(here) == before
    assert shown[0] == "PLAN (nothing changed): rewind mailer in place to earliest"
    assert shown[1].split() == ["PARTITION", "FROM", "TO", "EVENTS"]
    moved = [[str(p), str(offset), "0", str(offset)] for p, offset in enumerate(before) if offset]
    first, *rest = shown[2 + len(moved) :]
    assert [line.split() for line in shown[2 : 2 + len(moved)]] == moved
    assert first == f"total {len(moved)} partitions, 40 events, about 2.0s at 20/s"
    assert rest == [
        'handlers  charge, refund run again, refund with effects (on_replay="emit"); send_receipt is muted'
        ' (on_replay="skip")',
        "failures  0 retrying, 0 parked: stay as they are",
        "members   1, fenced at once, need not stop",
        "run it:   eventstore replay mailer --to earliest --reason 'a bad deploy' --execute",
    ]


def test_a_plan_in_json_has_what_its_table_shows(here: Here, cli: Command, server: Server) -> None:
    anyio.run(_a_member_lives, cli, server)
    before = offsets(here)
    plan = here.ok("--json", "replay", "mailer", "--to", "earliest").json
    assert re.fullmatch("p-[0-9a-f]{8}", plan["plan"])
    assert [(each["partition"], each["from"], each["to"], each["events"]) for each in plan["partitions"]] == [
        (p, offset, 0, offset) for p, offset in enumerate(before)
    ]
    assert (plan["events"], plan["seconds"], plan["mode"]) == (40, 2.0, "in-place")
    assert (plan["runs"], plan["emits"], plan["muted"]) == (["charge", "refund"], ["refund"], ["send_receipt"])
    assert plan["warnings"] == []


def test_the_line_that_runs_a_plan_does_what_it_showed(here: Here) -> None:
    wanted = ("--until", "-0s", "--type", "OrderPlaced", "--correlation", "c-1", "--rate", "50")
    shown = here.ok("replay", "mailer", "--to", "-15m", *wanted).out
    only = next(line for line in shown.splitlines() if line.startswith("only "))
    assert re.fullmatch(r"only +up to \S+Z, of type OrderPlaced, with correlation id c-1: the rest .*", only)
    words = shlex.split(next(line for line in shown.splitlines() if line.startswith("run it:")))[3:]
    done = here.ok("--json", *words).json
    assert (done["types"], done["correlation_id"], done["rate_limit"]) == (["OrderPlaced"], "c-1", 50.0)
    assert (done["state"], done["total"] >= 40) == ("running", True)
    assert done["until"].endswith("Z")


def test_a_replay_runs_is_followed_and_ends(here: Here, cli: Command, server: Server) -> None:
    started = here.ok("replay", "mailer", "--to", "earliest", "--execute", "--reason", "a bad deploy")
    found = re.fullmatch(r"replay ([0-9a-f]{8}) of mailer to earliest: (\d+) events to handle again\n", started.out)
    assert found
    assert "no worker of the group runs: nothing is handled until one does\n" in started.err
    assert f"put back: eventstore replays cancel {found[1]}\n" in started.err
    assert offsets(here) == [0, 0, 0, 0]
    titles, row = (line.split() for line in here.ok("replays").out.splitlines())
    assert titles == ["REPLAY", "GROUP", "TO", "STATE", "DONE", "STARTED", "WHO", "WHY"]
    assert row[:5] == [found[1], "mailer", "earliest", "running", f"0/{found[2]}"]
    assert here.ok("replays").out.splitlines()[1].endswith(" a bad deploy")
    assert here.ok("jobs").out.splitlines()[1].split()[:3] == [found[1], "replay", "running"]
    refused = here.run("replay", "mailer", "--to", "+1", "--execute", "--yes")
    assert refused.code == 1
    assert refused.err.startswith(f"error: job-running: replay {found[1]} of mailer is under way\n")
    anyio.run(_work, cli, server)
    shown = here.ok("replays", found[1]).out
    assert "to             earliest in place\n" in shown
    assert "why            a bad deploy\n" in shown
    assert here.ok("--json", "replays", found[1]).json["left"] == 0
    assert here.run("replays", "cancel", found[1]).code in {0, 1}  # whether a member has ended it yet


@pytest.mark.parametrize("noun", ["replays", "jobs"])
def test_a_replay_that_is_cancelled_puts_the_group_back(here: Here, noun: str) -> None:
    before = offsets(here)
    replay_id = here.ok("--json", "replay", "mailer", "--to", "earliest", "--execute").json["id"]
    assert offsets(here) == [0, 0, 0, 0]
    here.ok(noun, "cancel", replay_id[:8], "--reason", "the wrong group")
    assert offsets(here) == before
    assert here.ok("--json", "replays", replay_id).json["state"] == "cancelled"
    again = here.run(noun, "cancel", replay_id)
    assert again.code == 1
    assert again.err.startswith(f"error: wrong-state: job {replay_id} is cancelled\n")
    told = {(each["what"], each["why"]) for each in here.ok("--json", "audit").items}
    assert told == {("replay", None), ("job-cancel", "the wrong group")}


def test_one_stream_goes_back(here: Here) -> None:
    shown = here.ok("replay", "mailer", "--to", "order-2@8").out.splitlines()
    assert shown[0] == "PLAN (nothing changed): rewind some streams of mailer to order-2@8"
    assert shown[1].split() == ["STREAM", "PARTITION", "FROM", "TO", "EVENTS"]
    assert (shown[2].split()[0], shown[2].split()[2:]) == ("order-2", ["11", "8", "3"])
    assert shown[3] == "total 1 stream, 3 events"
    assert shown[-1] == "run it:   eventstore replay mailer --to order-2@8 --execute"
    several = here.ok("replay", "mailer", "--to", "-2", "--stream", "order-1", "--stream", "order-2").out
    assert "total 2 streams, 4 events\n" in several
    assert several.endswith("run it:   eventstore replay mailer --to -2 --stream order-1 --stream order-2 --execute\n")
    done = here.ok("--json", "replay", "mailer", "--to", "order-2@8", "--execute").json
    assert [(each["stream"], each["from"], each["to"]) for each in done["streams"]] == [("order-2", 11, 8)]
    assert "to             order-2@8 by stream\n" in here.ok("replays", done["id"]).out


def test_a_skip_asks_and_is_refused_where_nobody_can_be_asked(here: Here) -> None:
    for i in range(3):
        here.ok("publish", "order-1", "OrderPlaced", f'{{"total": {i}}}')
    shown = here.ok("replay", "mailer", "--to", "latest").out
    assert shown.startswith("PLAN (nothing changed): move mailer in place to latest\n")
    assert "total 1 partition, 0 events, 3 skipped\n" in shown
    assert "3 events that were not handled yet are skipped, in partition" in shown
    before = offsets(here)
    refused = here.run("replay", "mailer", "--to", "latest", "--execute")
    assert (refused.code, "  field: --yes\n" in refused.err) == (2, True)
    assert offsets(here) == before
    done = here.ok("replay", "mailer", "--to", "latest", "--execute", "--yes")
    assert re.fullmatch(r"replay [0-9a-f]{8} of mailer to latest: done\n", done.out)
    assert sum(offsets(here)) == sum(before) + 3


def test_a_skip_is_asked_for_on_a_terminal(here: Here, cli: Command) -> None:
    here.ok("publish", "order-1", "OrderPlaced", '{"total": 1}')
    before = offsets(here)
    terminal = Terminal(cli, "replay", "mailer", "--to", "latest", "--execute", columns=120)
    terminal.until(lambda shown: "[y/N]" in shown)
    terminal.press("n\n")
    assert terminal.end() == 1
    assert "Skip 1 event? mailer will never handle it. It stays in the log." in terminal.shown
    assert offsets(here) == before


@pytest.mark.parametrize(
    ("arguments", "code", "says", "field"),
    [
        (["--to", "0:999"], 2, "position 999 of partition 0 is beyond its head", "--to"),
        (["--to", "yesterdya"], 2, "'yesterdya' is no place to go to", "--to"),
        (["--to", "lattest"], 2, "did you mean latest?", "--to"),
        (["--to", "2026-11-23"], 2, "'2026-11-23' is not a time", "--to"),
        (["--to", "-5", "--stream", "nope"], 4, "there is no stream nope", "--stream"),
        (["--to", "nope@1"], 4, "there is no stream nope", "--to"),
        (["--to", "-1m", "--until", "-2m"], 2, "before it begins at", "--until"),
        (["--to", "-5", "--until", "yesterdya"], 2, "'yesterdya' is no bound", "--until"),
        (["--to", "order-1@99"], 2, "order-1 is at version 10, there is no version 99", "--to"),
        (["--to", "-5", "--until", "order-1@2"], 2, "order-1@2 is no bound", "--until"),
        (["--to", "-5", "--rate", "0"], 2, "rate is 0.0", "--rate"),
        (["--to", "-5", "--execute", "--dry-run"], 2, "--execute and --dry-run are given", "--execute"),
        (["--to", "latest", "--execute"], 1, "there is nothing to replay", "--to"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_flag(
    here: Here, arguments: list[str], code: int, says: str, field: str
) -> None:
    before = offsets(here)
    refused = here.run("replay", "mailer", *arguments)
    assert refused.code == code
    assert says in refused.err
    assert f"  field: {field}\n" in refused.err
    assert offsets(here) == before


def test_a_type_or_transaction_that_no_event_has_is_said_with_what_there_is(here: Here) -> None:
    warned = here.ok("--json", "replay", "mailer", "--to", "earliest", "--type", "Note", "--type", "Noted").json
    assert warned["warnings"][0] == "none of the 40 events is of type Note: did you mean Noted?"
    warned = here.ok("--json", "replay", "mailer", "--to", "order-2@8", "--type", "Shipped").json
    assert warned["warnings"][0] == "none of the 3 events is of type Shipped: there are Noted"
    shown = here.ok("replay", "mailer", "--to", "earliest", "--correlation", "transaction-7").out
    assert "warning   none of the 40 events has correlation id transaction-7\n" in shown
    assert "none of the" not in here.ok("replay", "mailer", "--to", "earliest", "--type", "Noted").out


def test_a_plan_says_that_a_replay_is_under_way_and_how_far_it_is(here: Here) -> None:
    started = here.ok("--json", "replay", "mailer", "--to", "earliest", "--execute").json
    shown = here.ok("replay", "mailer", "--to", "earliest").out
    short = started["id"][:8]
    assert f"warning   replay {short} of it is under way, 0 of 40 events done: another one can begin when" in shown
    here.ok("replays", "cancel", short)
    assert "under way" not in here.ok("replay", "mailer", "--to", "earliest").out


def test_the_figures_of_a_replay_are_those_of_its_plan_everywhere(here: Here, cli: Command, server: Server) -> None:
    """Also of one that runs beside a member, which handles the first events of its own job before it is moved."""

    async def begin() -> None:
        async with (
            EventStore.open(settings=settings_of(cli, server), types=[Noted]) as store,
            running(store, Seen().consumer("mailer")),
        ):
            await until_lag_is(store, 0, "mailer")
            plan = await replay.plan(store, wanted)
            begun = await replay.execute(store, wanted, who="ada")
            assert (plan.events, begun.total) == (40, 40)
            await until_over(store, begun.job.id)

    wanted = replay.Request("mailer", replay.parse_target("earliest"))
    anyio.run(begin)
    (ended,) = here.ok("--json", "replays").items
    assert (ended["state"], ended["done"], ended["total"], ended["left"]) == ("done", 40, 40, 0)
    assert [each["facts"]["events"] for each in here.ok("--json", "audit").items] == [40]


def test_a_group_or_replay_that_there_is_not(here: Here) -> None:
    assert here.run("--json", "replay", "mialer", "--to", "-5").problem["code"] == "group-not-found"
    missing = here.run("--json", "replays", "0199f2c4")
    assert (missing.code, missing.problem["code"], missing.problem["field"]) == (4, "replay-not-found", "ID")
    none = here.ok("replays")
    assert (none.out, none.err) == ("", "no replays yet: eventstore replay GROUP --to T\n")
