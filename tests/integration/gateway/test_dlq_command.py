"""dlq: what an operator sees of dead letters, and does with them."""

import json
import re
import shlex
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from consumers.dead_letters import Where
from eventstore import EventStore
from gateway import letters
from gateway.cli.main import run
from infrastructure.settings import LogSettings, Settings
from tests.support.command import Command, Terminal, interrupt, wait_until
from tests.support.here import Here
from tests.support.letters import Placed, Shop, listed, park
from tests.support.running import running
from tests.support.servers import Server, until

GROUP = "charge-cards"


@asynccontextmanager
async def store_of(cli: Command, server: Server) -> AsyncIterator[EventStore]:
    log = LogSettings(prefix=cli.environment["EVENTSTORE_PREFIX"], partitions=4)
    async with EventStore.open(settings=Settings(redis=server.settings, eventstore=log), types=[Placed]) as store:
        yield store


def left(cli: Command, server: Server, *, retrying: bool = False) -> set[str]:
    """The streams of what is listed."""

    async def look() -> set[str]:
        async with store_of(cli, server) as store:
            return {each.stream for each in await listed(store, retrying=retrying)}

    return anyio.run(look)


Letters = Callable[..., None]


@pytest.fixture
def parked(cli: Command, server: Server) -> Letters:
    """Parks the first events of some streams."""

    async def make(streams: Sequence[str], options: dict[str, Any]) -> None:
        async with store_of(cli, server) as store:
            await park(store, streams, **options)

    def letters(*streams: str, **options: Any) -> None:
        anyio.run(make, streams, options)

    return letters


def worded(line: str) -> str:
    return re.sub(r" {2,}", " | ", line.strip())


def test_a_letter_is_listed_with_what_it_waits_for(here: Here, parked: Letters) -> None:
    parked("order-42", events=5)
    title, line = here.ok("dlq", "list", "--time", "raw").out.splitlines()
    assert worded(title) == "GROUP | STREAM | VERSION | TYPE | ATTEMPTS | PARKED | WAITING | WHY"
    shown = worded(line).split(" | ")
    assert shown[:5] == [GROUP, "order-42", "1", "Placed", "1"]
    assert shown[5].isdigit()
    assert shown[6] == "4"
    assert re.fullmatch(r"Declined: no funds for order-42 \(letters\.py:\d+\)", shown[7])
    assert here.ok("dlq", "--time", "raw").out == here.ok("dlq", GROUP, "--time", "raw").out == f"{title}\n{line}\n"
    (letter,) = here.ok("dlq", "list", "--json").items
    assert (letter["group"], letter["stream"], letter["version"], letter["waiting"]) == (GROUP, "order-42", 1, 4)
    assert (letter["state"], letter["error"], letter["message"]) == ("parked", "Declined", "no funds for order-42")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", letter["parked_at"])


def test_where_there_is_none_the_list_is_empty(here: Here) -> None:
    shown = here.ok("dlq", "list")
    assert (shown.out, shown.err) == ("", "no dead letters\n")
    assert here.ok("dlq", "list", "--json").out == ""
    missing = here.run("dlq", "list", "nobody")
    assert (missing.code, missing.err.splitlines()[0]) == (4, "error: group-not-found: there is no group nobody")


def test_the_list_is_filtered_and_limited(here: Here, parked: Letters) -> None:
    parked("order-1", "order-2", "invoice-1")

    def streams(*flags: str) -> set[str]:
        return {each["stream"] for each in here.ok("dlq", "list", "--json", *flags).items}

    assert streams("--category", "order") == streams("--prefix", "order-") == {"order-1", "order-2"}
    assert streams("--error", "Declined", "--type", "Placed") == {"order-1", "order-2", "invoice-1"}
    assert streams("--error", "KeyError") == streams("--older-than", "2h") == set()
    assert len(streams("--limit", "2")) == 2
    wrong = here.run("dlq", "list", "--older-than", "soon")
    assert (wrong.code, "  field: --older-than\n" in wrong.err) == (2, True)


@pytest.mark.parametrize("name", [[GROUP, "order-42"], [f"{GROUP}/order-42"]], ids=["two words", "one"])
def test_a_letter_is_shown_with_its_traceback_and_the_events_behind_it(
    here: Here, parked: Letters, name: list[str]
) -> None:
    parked("order-42", events=3)
    shown = here.ok("dlq", "show", *name)
    lines = [worded(line) for line in shown.out.splitlines()]
    assert "version | 1, 2 events wait behind it" in lines
    assert 'raise Declined(f"no funds for {event.stream}")' in lines
    assert [line.split(" | ")[0] for line in lines[-3:]] == ["1", "2", "3"]
    assert lines[-1].endswith('{"n":3}')
    assert shown.err == "next: eventstore dlq retry charge-cards order-42   (or discard)\n"
    assert here.ok("dlq", *name).out == shown.out
    letter = here.ok("dlq", "show", *name, "--json", "--limit", "2").json
    assert [event["data"] for event in letter["events"]] == [{"n": 1}, {"n": 2}]
    assert [e["version"] for e in here.ok("dlq", "show", *name, "--json", "--from", "3").json["events"]] == [3]
    assert "Traceback" in letter["traceback"]
    missing = here.run("dlq", "show", GROUP, "order-43")
    assert missing.code == 4
    assert missing.err.startswith("error: dead-letter-not-found: no event of order-43 fails in group charge-cards\n")


def test_data_of_a_failure_cannot_steer_the_terminal(cli: Command, parked: Letters) -> None:
    def declines(event: object) -> bool:
        raise ValueError("\x1b[2J\u202e\nsecond line")

    parked("order-42", declines=declines)
    for arguments in (["dlq"], ["dlq", GROUP, "order-42"]):
        terminal = Terminal(cli, *arguments, "--color", "never", columns=200)
        assert terminal.end() == 0
        assert not {"\x1b", "\u202e"} & set(terminal.shown)
        assert "ValueError: \\x1b[2J\\u202e" in terminal.shown


def test_named_letters_are_retried_at_once(here: Here, parked: Letters) -> None:
    parked("order-42", "order-43", "order-44", events=2)
    done = here.ok("dlq", "retry", GROUP, "order-42", "order-43", "--reason", "the bank is back")
    assert done.out == "2 letters retried, 2 events wait behind\n"
    assert done.err == "no member of charge-cards runs there: the rest is handled when one does\n"
    assert here.ok("dlq", "retry", f"{GROUP}/order-44", "--json").json == {
        "retried": 1,
        "events": 2,
        "has_worker": False,
    }
    assert here.ok("dlq", "list", "--json").items == []
    assert {each["state"] for each in here.ok("dlq", "list", "--retrying", "--json").items} == {"retrying"}
    assert "no, next" in here.ok("dlq", "list", "--retrying").out
    entries = here.ok("audit", "--json").items
    assert [(entry["what"], entry["why"]) for entry in entries if "outcome" not in entry["what"]] == [
        ("dlq-retry", None),
        ("dlq-retry", "the bank is back"),
    ]
    missing = here.run("dlq", "retry", GROUP, "order-99")
    assert missing.code == 4


def test_a_running_member_handles_what_is_retried(cli: Command, server: Server) -> None:
    async def work() -> None:
        shop = Shop()
        async with store_of(cli, server) as store:
            await store.append("order-42", [Placed(1), Placed(2)])
            async with running(store, shop.charging()):
                await until(lambda: len(shop.calls) == 1)
                shop.mend()
                done = await anyio.to_thread.run_sync(cli.ok, "dlq", "retry", GROUP, "order-42")
                assert (done.out, done.err) == ("1 letter retried, 1 event waits behind\n", "")
                await until(lambda: shop.handled == [("order-42", 1), ("order-42", 2)])

    anyio.run(work)


# ---- discard ----


def test_a_discard_asks_on_a_terminal_and_tells_what_is_lost(cli: Command, server: Server, parked: Letters) -> None:
    parked("order-42", events=5)
    question = "Discard order-42@1 (Placed)? charge-cards will never handle it. It stays in the log; 4 behind go on."
    for answer, code, ending in (
        ("n", 1, "nothing was done"),
        ("", 1, "nothing was done"),
        ("y", 0, "1 letter discarded"),
    ):
        terminal = Terminal(cli, "dlq", "discard", GROUP, "order-42", "--reason", "a test order", columns=200)
        terminal.until(lambda shown: question in shown)
        terminal.press(f"{answer}\n")
        assert terminal.end() == code
        assert ending in terminal.shown
        assert bool(left(cli, server)) == (code == 1)


def test_ctrl_c_ends_the_question_with_nothing_done(cli: Command, server: Server, parked: Letters) -> None:
    parked("order-42")
    terminal = Terminal(cli, "dlq", "discard", GROUP, "order-42", "--reason", "a test order", columns=200)
    terminal.until(lambda shown: "[y/N]" in shown)
    terminal.press("\x03")
    assert terminal.end() == 130
    assert left(cli, server) == {"order-42"}


def test_a_discard_without_a_terminal_needs_yes_and_always_a_reason(here: Here, parked: Letters) -> None:
    parked("order-42", events=2)
    for arguments, field in (
        (["--reason", "gone"], "--yes"),
        (["--yes"], "--reason"),
        (["--yes", "--reason", " "], "--reason"),
        (["--reason", "gone", "--no-input"], "--yes"),
    ):
        refused = here.run("dlq", "discard", GROUP, "order-42", *arguments)
        assert refused.code == 2
        assert f"  field: {field}\n" in refused.err
    assert len(here.ok("dlq", "list", "--json").items) == 1
    done = here.ok("dlq", "discard", GROUP, "order-42", "--yes", "--reason", "gone", "--json").json
    assert done == {"discarded": 1, "events": 1, "has_worker": False}
    outcome, intent = here.ok("audit", "--json").items
    assert (intent["what"], intent["why"]) == ("dlq-discard", "gone")
    assert outcome["facts"]["done"] == [{"stream": "order-42", "version": 1}]


# ---- selections ----


def test_a_selection_shows_its_plan_until_it_is_executed(here: Here, parked: Letters) -> None:
    parked("order-1", "order-2", "order-3", events=2)
    command = ["dlq", "retry", GROUP, "--error", "Declined", "--rate", "50"]
    lines = [worded(line) for line in here.ok(*command).out.splitlines()]
    assert lines == [
        "PLAN (nothing changed): retry 3 letters",
        "GROUP | ERROR | LETTERS | EVENTS",
        f"{GROUP} | Declined | 3 | 6",
        "total | 3 letters, 6 events with those that wait, about 0.1s",
        f"members | 0 of {GROUP}, it waits until one runs",
        f"run it: | eventstore {' '.join(command)} --execute",
    ]
    assert here.ok(*command, "--dry-run").out == here.ok(*command).out
    plan = here.ok(*command, "--json").json
    assert (plan["action"], plan["letters"], plan["events"], plan["members"]) == ("retry", 3, 6, {GROUP: 0})
    assert len(here.ok("dlq", "list", "--json").items) == 3
    done = here.ok(*command, "--execute", "--limit", "2", "--json").json
    assert (done["action"], done["done"], done["late"], done["events"]) == ("retry", 2, 0, 4)
    assert here.ok("jobs", "show", done["job"][:8], "--json").json["state"] == "done"
    shown = here.ok("dlq", "retry", "--all", "--execute")
    assert shown.out.startswith("1 letter retried\n")
    assert here.ok("dlq", "list", "--json").items == []


def test_a_selection_is_discarded_after_a_question(cli: Command, here: Here, parked: Letters) -> None:
    parked("order-1", "order-2", "invoice-1", events=2)
    command = ["dlq", "discard", "--category", "order", "--reason", "a typo"]
    assert "run it:   eventstore dlq discard --category order --reason 'a typo' --execute" in here.ok(*command).out
    refused = here.run(*command, "--execute")
    assert (refused.code, "  field: --yes\n" in refused.err) == (2, True)
    terminal = Terminal(cli, *command, "--execute", columns=200)
    terminal.until(lambda shown: "Discard 2 events? charge-cards will never handle them." in shown)
    terminal.press("y\n")
    assert terminal.end() == 0
    assert [each["stream"] for each in here.ok("dlq", "list", "--json").items] == ["invoice-1"]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["retry"], "STREAM"),
        (["retry", GROUP], "STREAM"),
        (["retry", GROUP, "order-42", "--all"], "--all"),
        (["retry", GROUP, "order-42", "--error", "KeyError"], "--error"),
        (["retry", GROUP, "order-42", "--execute"], "--execute"),
        (["discard", GROUP, "order-42", "--rate", "20"], "--rate"),
        (["retry", "--all", "--execute", "--dry-run"], "--execute"),
        (["retry", "--all", "--rate", "0"], "--rate"),
        (["retry", "--all", "--limit", "0"], "--limit"),
        (["discard", "--all"], "--reason"),
        (["show", GROUP], "STREAM"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else None,
)
def test_what_makes_no_sense_is_refused(arguments: list[str], field: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dlq", *arguments]) == 2
    assert f"  field: {field}\n" in capsys.readouterr().err


def test_a_retry_of_all_that_is_killed_goes_on_when_it_is_run_again(
    cli: Command, server: Server, parked: Letters
) -> None:
    streams = {f"order-{n}" for n in range(60)}
    parked(*streams)
    killed = cli.start("dlq", "retry", "--all", "--execute", "--rate", "20")
    wait_until(lambda: len(left(cli, server)) < 60)
    assert killed.poll() is None
    killed.kill()
    killed.communicate()
    still = left(cli, server)
    assert left(cli, server, retrying=True) == streams
    done = cli.ok("dlq", "retry", "--all", "--execute", "--json").json
    assert done["done"] == len(still) > 0
    assert left(cli, server) == set()


def test_ctrl_c_stops_a_job_between_two_batches_and_tells_how_to_go_on(
    cli: Command, server: Server, parked: Letters
) -> None:
    parked(*(f"order-{n}" for n in range(30)))
    started = cli.start("dlq", "retry", "--all", "--execute", "--rate", "5")
    wait_until(lambda: len(left(cli, server)) < 30)
    code, _, err = interrupt(started)
    assert code == 130
    assert re.search(r"stopped after \d+ of 30 letters; go on with: eventstore dlq retry --rate 5 --all --execute", err)
    assert cli.ok("jobs", "--json").items[0]["state"] == "cancelled"


# ---- the rest ----


def test_statistics_are_printed_by_group_type_and_error(here: Here, parked: Letters) -> None:
    parked("order-1", "order-2", events=3)
    lines = [worded(line) for line in here.ok("dlq", "stats").out.splitlines()]
    assert re.fullmatch(r"2 parked, the oldest for [\d.]+s, 4 waiting, 0 retrying", lines[0])
    assert [line.rpartition(" | ")[0] for line in lines[2:]] == [
        f"group | {GROUP} | 2 | 4 | 0",
        "type | Placed | 2 | 4 | 0",
        "error | Declined | 2 | 4 | 0",
    ]
    found = here.ok("dlq", "stats", "--json").json
    assert (found["parked"], found["waiting"], found["retrying"]) == (2, 4, 0)
    assert found["by_error"]["Declined"]["parked"] == 2


def test_letters_are_exported_to_a_file_or_to_stdout(here: Here, parked: Letters) -> None:
    parked("order-1", "order-2")
    lines = here.ok("dlq", "export").items
    assert sorted(line["event"]["stream"] for line in lines) == ["order-1", "order-2"]
    assert all(line["failure"]["error"] == "Declined" for line in lines)
    done = here.ok("dlq", "export", GROUP, "--prefix", "order-2", "--out", "letters.ndjson")
    assert done.out == "1 letter in letters.ndjson\n"
    (line,) = map(json.loads, Path("letters.ndjson").read_text().splitlines())
    assert line["event"]["stream"] == "order-2"


@pytest.mark.parametrize("verb", ["list", "show", "retry", "discard", "export", "stats"])
def test_the_examples_of_each_verb_run(here: Here, parked: Letters, verb: str) -> None:
    parked("order-42")
    examples = re.findall(r"^    eventstore (.+)$", here.ok("dlq", verb, "--help").out, re.MULTILINE)
    assert examples
    for words in examples:
        here.ok(*shlex.split(words))


def test_pages_for_http_go_on_behind_their_cursor(cli: Command, server: Server) -> None:
    async def look() -> None:
        async with store_of(cli, server) as store:
            await park(store, [f"order-{n}" for n in range(7)])
            pages, cursor = [], None
            while True:
                page = await letters.letter_page(store, GROUP, Where(), limit=3, cursor=cursor)
                pages.append(len(page.items))
                cursor = page.next
                if cursor is None:
                    break
            assert pages == [3, 3, 1]
            assert len(await listed(store)) == 7

    anyio.run(look)
