"""groups: what an operator sees of consumers, and does with them."""

import shlex
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from msgspec.structs import replace

from consumers.commit_call import commit
from consumers.groups import create_group
from consumers.keys import group_keys
from consumers.membership import Members, new_member
from consumers.start import Start
from consumers.state import Commit, Row, RowState
from eventstore import EventStore
from gateway.cli.main import run
from infrastructure.settings import LogSettings, Settings
from tests.support.command import Command, Terminal
from tests.support.groups import failure_of, take
from tests.support.servers import Server
from tests.support.stores import Noted

ADA = new_member(1_795_600_215_640_217)


@pytest.fixture
def filled(cli: Command, server: Server) -> Command:
    """Four events, of two streams that lie in two partitions, and a group that begins at the first of them."""
    anyio.run(_fill, cli, server)
    return cli


async def _fill(cli: Command, server: Server) -> None:
    async with store_of(cli, server) as store:
        for stream in ("order-42", "order-43"):
            await store.append(stream, [Noted(1), Noted(2)])
        await create_group(store, "mailer", Start("earliest"), who="ada")


@asynccontextmanager
async def store_of(cli: Command, server: Server) -> AsyncIterator[EventStore]:
    log = LogSettings(prefix=cli.environment["EVENTSTORE_PREFIX"], partitions=4)
    async with EventStore.open(settings=Settings(redis=server.settings, eventstore=log), types=[Noted]) as store:
        yield store


async def worked(cli: Command, server: Server) -> None:
    """What a worker leaves that has died just now: a member, a lease, and a stream that is parked."""
    async with store_of(cli, server) as store:
        (first,) = [event async for event in store.read("order-42", limit=1)]
        keys = group_keys(store.log.keys, "mailer", first.partition)
        _, token = await take(store, "mailer", first.partition, ADA.id)
        member = replace(ADA, partitions=(first.partition,))
        await Members(store.log, "mailer", ttl_seconds=3_600).heartbeat(member)
        place = (first.epoch, first.position)
        row = Row(1, RowState.PARKED, 8, 0, 0, f"{first.epoch}-{first.position}")
        failure = failure_of(first, time.time_ns() // 1_000 - 8_050 * 1_000_000, parked=True)
        await commit(store.log, keys, Commit(token, 1, place, {"order-42": row}, {"order-42": failure}))


def test_groups_are_listed_with_what_fails(filled: Command, server: Server) -> None:
    filled.ok("groups", "create", "charge-cards", "--from", "latest")
    anyio.run(worked, filled, server)
    first, second, third = (line.split() for line in filled.ok("groups").out.splitlines())
    assert " ".join(first) == "GROUP STATE MEMBERS PARTITIONS LAG BEHIND BY RETRYING PARKED OLDEST PARKED"
    assert second[:4] == ["charge-cards", "idle", "0", "0/4"]
    assert third[:4] == ["mailer", "running", "1", "1/4"]
    assert third[-4:] == ["0", "1", "2h", "14m"]
    by_name = {each["group"]: each for each in filled.ok("--json", "groups").items}
    assert list(by_name) == ["charge-cards", "mailer"]
    assert (by_name["mailer"]["parked"], by_name["mailer"]["retrying"]) == (1, 0)
    assert filled.ok("--json", "groups", "--limit", "1").json["group"] == "charge-cards"
    assert filled.run("groups", "mailer", "--limit", "3").code == 2


def test_a_group_is_shown_with_its_members_and_each_partition(filled: Command, server: Server) -> None:
    anyio.run(worked, filled, server)
    shown = filled.ok("groups", "mailer").out
    assert filled.ok("groups", "show", "mailer").out.splitlines()[:2] == ["group     mailer", "state     running"]
    assert "failures  0 retrying, 1 parked, the oldest 20" in shown
    assert "in hand   events: 0; streams beside the main pass: 1\n" in shown
    found = filled.ok("--json", "groups", "mailer").json
    assert found["members"][0]["id"] == ADA.id
    assert [each["owner"] for each in found["partitions"]].count(ADA.id) == 1
    lines = shown.splitlines()
    titles = next(i for i, line in enumerate(lines) if line.startswith("PARTITION "))
    for line, part in zip(lines[titles + 1 :], found["partitions"], strict=True):
        cells = line.split()
        numbers = [part["partition"], part["offset"], part["head"], part["lag"]]
        assert cells[:4] == [str(number) for number in numbers]
        assert part["lag"] == part["head"] - part["offset"]
        assert cells[-3:] == ["0", str(part["parked"]), part["owner"] or "-"]


def test_what_keeps_a_breaker_open_is_told(filled: Command, server: Server) -> None:
    async def member() -> None:
        async with store_of(filled, server) as store:
            failing = replace(ADA, breaker="open", breaker_error="ConnectionError: refused at charge.py:31")
            await Members(store.log, "mailer", ttl_seconds=3_600).heartbeat(failing)

    anyio.run(member)
    assert filled.ok("groups").out.splitlines()[1].endswith("breaker open")
    assert "breaker   open: ConnectionError: refused at charge.py:31\n" in filled.ok("groups", "mailer").out
    (shown,) = filled.ok("--json", "groups", "mailer").json["members"]
    assert shown["breaker_error"] == "ConnectionError: refused at charge.py:31"


def test_a_group_begins_where_it_is_told_to(filled: Command) -> None:
    assert filled.ok("groups", "create", "first").out == "first is made, 5 events ahead of it\n"
    assert filled.ok("--json", "groups", "create", "last", "--from", "latest").json["lag"] == 0
    assert filled.ok("--json", "groups", "create", "since", "--from", "-15m").json["lag"] == 7
    again = filled.run("groups", "create", "mailer")
    assert again.code == 1
    assert again.err.startswith("error: wrong-state: there is a group mailer already\n")
    wrong = filled.run("groups", "create", "other", "--from", "yesterday")
    assert wrong.code == 2
    assert "  field: --from\n" in wrong.err
    wrong = filled.run("groups", "create", "no blanks")
    assert wrong.code == 2
    assert "  field: GROUP\n" in wrong.err


def test_a_paused_group_says_so_and_why_until_it_is_resumed(filled: Command) -> None:
    filled.ok("groups", "pause", "mailer", "--reason", "the bank is down")
    line = filled.ok("groups").out.splitlines()[1]
    assert line.split()[:2] == ["mailer", "paused"]
    assert line.endswith(": the bank is down")
    assert filled.ok("--json", "groups", "mailer").json["paused"]["why"] == "the bank is down"
    resumed = filled.ok("groups", "resume", "mailer", "--reason", "it is back")
    assert resumed.out.startswith("mailer is idle, ")
    assert [each["what"] for each in filled.ok("--json", "audit").items] == [
        "group-resume",
        "group-pause",
        "group-create",
    ]


def test_a_group_with_a_member_is_deleted_by_force_alone(filled: Command, server: Server) -> None:
    anyio.run(worked, filled, server)
    refused = filled.run("groups", "delete", "mailer")
    assert refused.code == 1
    assert refused.err.startswith(f"error: wrong-state: group mailer has 1 member: {ADA.id}\n")
    assert "--force" in refused.err
    done = filled.ok("groups", "delete", "mailer", "--force", "--reason", "not needed")
    assert done.out.endswith(" events ahead of it, 0 retrying, 1 parked\n")
    gone = filled.run("--json", "groups", "mailer")
    assert (gone.code, gone.problem["code"], gone.problem["group"]) == (4, "group-not-found", "mailer")
    assert filled.ok("verify").code == 0


def test_verify_finds_what_a_stranger_did_to_a_group(filled: Command, server: Server) -> None:
    anyio.run(worked, filled, server)
    assert filled.ok("verify").code == 0
    (rows,) = [key for key in server.admin("KEYS", "*:g:mailer:detached") if server.admin("HLEN", key) > 1]
    server.admin("ZADD", rows.replace(b":detached", b":due"), 5, "order-42")
    done = filled.run("--json", "verify")
    assert done.code == 1
    (found,) = done.json["findings"]
    assert (found["invariant"], found["where"]) == (6, "group mailer, order-42")
    assert "ZREM" in found["detail"]


def test_a_name_that_is_nearly_right_is_guessed(filled: Command) -> None:
    wrong = filled.run("groups", "mialer")
    assert wrong.code == 4
    assert "did you mean mailer?" in wrong.err
    assert "  field: GROUP\n" in wrong.err


def test_where_no_group_is_the_way_to_one_is_told(cli: Command) -> None:
    none = cli.ok("groups")
    assert (none.out, none.err) == (
        "",
        "no groups yet: a worker makes its own, or eventstore groups create NAME\n",
    )
    assert cli.ok("--json", "groups").out == ""


@pytest.mark.parametrize("columns", [80, 100])
def test_a_list_and_a_group_fit_a_terminal(filled: Command, columns: int) -> None:
    filled.ok("groups", "create", "charge-cards-of-customers")
    filled.ok("groups", "pause", "charge-cards-of-customers", "--reason", "the bank is down")
    for arguments in (("groups",), ("groups", "mailer")):
        terminal = Terminal(filled, *arguments, "--color", "never", columns=columns)
        assert terminal.end() == 0
        assert "mailer" in terminal.shown
        assert max(map(len, terminal.shown.splitlines())) <= columns, terminal.shown


def test_a_group_that_lags_and_that_nobody_works_for_is_said(filled: Command, server: Server) -> None:
    listed = filled.ok("groups")
    hint = "nobody works for mailer: eventstore work --app MODULE, the one that defines it\n"
    assert hint in filled.ok("groups", "mailer").err
    assert listed.err == hint
    anyio.run(worked, filled, server)
    assert filled.ok("groups").err == filled.ok("groups", "mailer").err == ""


def test_the_json_of_the_list_leaves_out_members_and_partitions(filled: Command) -> None:
    listed = {each["group"]: each for each in filled.ok("--json", "groups").items}["mailer"]
    whole = filled.ok("--json", "groups", "mailer").json
    assert set(whole) - set(listed) == {"members", "partitions"}
    assert {name: whole[name] for name in listed if name != "behind_seconds"} == {
        name: value for name, value in listed.items() if name != "behind_seconds"
    }
    assert (listed["member_count"], listed["held"], listed["partition_count"]) == (0, 0, 4)


def test_the_example_of_each_verb_runs(cli: Command, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("create", "show", "pause", "resume", "delete"):
        assert run(["groups", verb, "--help"]) == 0
        words = shlex.split(capsys.readouterr().out.rstrip().splitlines()[-1])
        assert words[:3] == ["eventstore", "groups", verb]
        cli.ok(*words[1:])
