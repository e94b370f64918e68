"""publish --at and --after, and timers: events that wait for their time, from the command line."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.support.command import Command, interrupt, wait_for_line, wait_until
from tests.support.here import Here

SHOP = """
from msgspec import Struct
from consumers import consumer

class OrderPlaced(Struct):
    total: int

@consumer("charge-cards")
async def charge(event: OrderPlaced) -> None:
    print("charged", event.total, flush=True)
"""
FAR = "2096-01-01T00:00:00Z"


def test_what_is_published_for_later_reaches_handlers_while_work_runs(cli: Command) -> None:
    (cli.folder / "shop.py").write_text(SHOP)
    work = cli.start("work", "--app", "shop")
    wait_for_line(work, "working for")
    made = cli.ok("publish", "order-1", "OrderPlaced", '{"total": 7}', "--after", "1s", "--app", "shop", "--json").json
    assert made.keys() == {"id", "stream", "type", "partition", "due_at", "state"}
    assert (made["stream"], made["type"], made["state"]) == ("order-1", "OrderPlaced", "waiting")
    wait_for_line(work, "charged 7")
    assert interrupt(work)[0] == 0
    (event,) = cli.ok("read", "order-1", "--json").items
    assert event["id"] == made["id"]
    assert event["recorded_at"] >= made["due_at"]


def test_up_without_a_module_fires_what_waits(cli: Command, here: Here) -> None:
    here.ok("publish", "order-1", "OrderPlaced", '{"total": 1}', "--at", "2020-01-01T00:00:00Z")
    assert here.run("read", "order-1").code == 4
    up = cli.start("up")
    wait_for_line(up, "eventstore is up at ")
    wait_until(lambda: here.run("read", "order-1").code == 0)
    assert interrupt(up)[0] == 0
    assert here.ok("timers", "--json").items == []


def test_they_are_listed_the_next_first_and_taken_back(here: Here) -> None:
    now = datetime.now(UTC)
    for days in (3, 1, 2):
        at = (now + timedelta(days=days)).isoformat()
        here.ok("publish", f"order-{days}", "OrderPlaced", f'{{"total": {days}}}', "--at", at)
    listed = here.ok("timers", "--json").items
    assert [each["stream"] for each in listed] == ["order-1", "order-2", "order-3"]
    assert [each["due_at"] for each in listed] == sorted(each["due_at"] for each in listed)
    assert [each["stream"] for each in here.ok("timers", "list", "--limit", "2", "--json").items] == [
        "order-1",
        "order-2",
    ]
    assert here.ok("timers", "list", "--stream", "order-3", "--json").items == listed[2:]
    heading, first, *_ = here.ok("timers", "--time", "relative").out.splitlines()
    assert heading.split() == ["DUE", "STREAM", "TYPE", "ID"]
    assert first.split() == ["in", "23h", "order-1", "OrderPlaced", listed[0]["id"]]
    done = here.ok("timers", "cancel", "order-2", listed[1]["id"], "--reason", "a slip")
    assert "is cancelled" in done.out
    assert [each["stream"] for each in here.ok("timers", "--json").items] == ["order-1", "order-3"]
    (entry,) = here.ok("audit", "--json").items
    assert (entry["what"], entry["why"]) == ("timer-cancel", "a slip")
    assert entry["facts"] == {"stream": "order-2", "id": listed[1]["id"]}
    again = here.run("timers", "cancel", "order-2", listed[1]["id"], "--json")
    assert (again.code, again.problem["code"], again.problem["stream"]) == (4, "timer-not-found", "order-2")
    assert len(here.ok("audit", "--json").items) == 1
    assert here.ok("verify").code == 0


def test_the_same_id_is_scheduled_once(here: Here) -> None:
    words = ["publish", "order-1", "OrderPlaced", "{}", "--id", str(uuid4())]
    first = here.ok(*words, "--at", FAR, "--json").json
    assert here.ok(*words, "--after", "1h", "--json").json == first
    assert here.run("publish", "order-1", "OrderPaid", "{}", *words[4:], "--at", FAR).code == 1
    assert len(here.ok("timers", "--json").items) == 1


def test_what_is_in_the_log_is_said_to_be(here: Here) -> None:
    words = ["publish", "order-1", "OrderPlaced", "{}", "--id", str(uuid4())]
    here.ok(*words)
    assert here.ok(*words, "--after", "1s", "--json").json["state"] == "fired"
    assert "order-1 has it already" in here.ok(*words, "--after", "1s").out


def test_nothing_waits_at_first(here: Here) -> None:
    done = here.ok("timers")
    assert "publish STREAM TYPE --after 15m" in done.err


def test_data_are_checked_now(cli: Command, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    (cli.folder / "shop.py").write_text(SHOP)
    words = ["publish", "order-1", "OrderPlaced", '{"total": "many"}', "--app", "shop", "--after", "1h", "--json"]
    assert here.run(*words).problem["code"] == "invalid-event"
    monkeypatch.setenv("EVENTSTORE_STRICT_TYPES", "true")
    unknown = here.run("publish", "order-1", "Other", "{}", "--after", "1h", "--json")
    assert unknown.problem["code"] == "invalid-event"
    assert here.ok("timers", "--json").items == []


@pytest.mark.parametrize(
    ("flags", "field"),
    [
        (["--after", "1s", "--expected", "3"], "--expected"),
        (["--after", "1s", "--expected", "exists"], "--expected"),
        (["--after", "1s", "--at", FAR], "--after"),
        (["--after", "soon"], "--after"),
        (["--after", "5000d"], "--after"),
        (["--at", "tomorrow"], "--at"),
        (["--at", "2026-11-23T08:00:00"], "--at"),
        (["--at=-15m"], "--at"),
        (["--at", ""], "--at"),
        (["--at", "9007199254740991"], None),
    ],
)
def test_what_cannot_be_meant_is_refused(here: Here, flags: list[str], field: str | None) -> None:
    done = here.run("publish", "order-1", "OrderPlaced", *flags, "--json")
    if field is None:  # a time far ahead is one
        assert (done.code, done.json["due_at"]) == (0, "2255-06-05T23:47:34.741000Z")
    else:
        assert (done.code, done.problem["field"]) == (2, field)


def test_of_an_id_that_is_none_it_is_said(here: Here) -> None:
    done = here.run("timers", "cancel", "order-1", "7", "--json")
    assert (done.code, done.problem["field"]) == (2, "ID")
