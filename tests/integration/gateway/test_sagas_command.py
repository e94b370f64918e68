"""sagas: what an operator sees of them, and does with them; and the commands that run them."""

import re
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from gateway.cli.names import saga_names, saga_types
from tests.support.command import Command, Terminal, interrupt, wait_for_line, wait_until
from tests.support.here import Here

SHOP = """
from pathlib import Path
from msgspec import Struct
from consumers import Fixed, Immediate, Saga, consumer, on, step

class OrderPlaced(Struct):
    order: str

class Payment(Struct):
    order: str = ""

@on(OrderPlaced, correlate=lambda event: event.order, starts=True)
def placed(data: Payment, event: OrderPlaced) -> Payment:
    return Payment(event.order)

async def reserve(data: Payment) -> None:
    pass

async def release(data: Payment) -> None:
    if not Path("mended").exists():
        raise RuntimeError("refused by the warehouse, which is closed")

async def charge(data: Payment) -> None:
    if not data.order.startswith("good"):
        raise ValueError("line 3")

async def wait(data: Payment) -> None:
    if data.order.startswith("good-slow"):
        raise TimeoutError("not yet")

older = Saga("payment", data=Payment).step("reserve", reserve)
payment = (
    Saga("payment", data=Payment, version=2, reactions=[placed], earlier=[older])
    .step("reserve", reserve, compensate=release, retry_compensation=Immediate(5))
    .step("wait", wait, retry=Fixed("1h", immediate=1))
    .step("charge", charge, retry=Immediate(3))
)

@consumer("mailer")
async def mail(event: OrderPlaced) -> None:
    pass
"""
STUCK = "saga-payment-bad-1"


@pytest.fixture
def here(here: Here, cli: Command) -> Here:
    (cli.folder / "shop.py").write_text(SHOP)
    return here


@pytest.fixture
def worker(here: Here, cli: Command) -> Iterator[None]:
    """A worker that has four sagas behind it: one is stuck, one waits, two are done."""
    for order in ("good-1", "good-2", "good-slow", "bad-1"):
        here.ok("publish", f"order-{order}", "OrderPlaced", f'{{"order": "{order}"}}')
    work = cli.start("work", "--app", "shop")
    try:
        assert wait_for_line(work, "working for ") == "working for mailer, saga payment\n"
        counts = {"completed": 2, "stuck": 1, "running": 1}
        wait_until(lambda: has_counts(here, **counts))
        wait_until(lambda: bool(here.ok("sagas", "saga-payment-good-slow", "--json").json["timers"]))
        yield
    finally:
        assert interrupt(work)[0] == 0


def has_counts(here: Here, **wanted: int) -> bool:
    found = here.ok("sagas", "stats", "--json").json
    return all(found[name] == number for name, number in wanted.items())


def worded(line: str) -> str:
    return re.sub(r" {2,}", " | ", line.strip())


@pytest.mark.usefixtures("worker")
def test_an_operator_sees_what_is_stuck_and_has_it_go_on(here: Here, cli: Command) -> None:
    listed = [worded(line) for line in here.ok("sagas", "list", "--status", "stuck").out.splitlines()]
    assert listed[0] == "SAGA | STATUS | SINCE | WHY"
    assert re.fullmatch(rf"{STUCK} \| stuck \| started \S+ \| compensation of reserve failed: .*", listed[1])
    assert len(here.ok("sagas", "--json").items) == 4
    assert [row["id"] for row in here.ok("sagas", "list", "--prefix", "saga-payment-bad", "--json").items] == [STUCK]
    assert here.ok("sagas", "list", "--type", "payment", "--older-than", "2h", "--json").items == []
    assert here.run("sagas", "--limit", "1").err == ""
    assert here.ok("sagas", "show", STUCK).out == here.ok("sagas", STUCK).out

    saga = here.ok("sagas", STUCK, "--json").json
    assert (saga["id"], saga["type"], saga["version"], saga["status"]) == (STUCK, "payment", 2, "stuck")
    assert saga["actions"] == ["retry", "skip-step"]
    assert [(each["name"], each["status"], each["attempts"]) for each in saga["steps"]] == [
        ("reserve", "succeeded", 1),
        ("wait", "succeeded", 1),
        ("charge", "failed", 3),
    ]

    (cli.folder / "mended").touch()
    done = here.ok("sagas", "retry", STUCK, "--reason", "the warehouse is open")
    assert re.fullmatch(rf"{STUCK}: retried, it is compens\w+ now\n", done.out)
    wait_until(lambda: has_counts(here, completed=2, stuck=0, running=1, compensated=1))
    again = here.run("sagas", "retry", STUCK, "--json")
    assert (again.code, again.problem["code"], again.problem["saga"]) == (1, "wrong-state", STUCK)
    entries = [(each["what"], each["why"]) for each in here.ok("audit", "--json").items]
    assert ("saga-retry", "the warehouse is open") in entries
    figures = here.ok("sagas", "stats").out.splitlines()
    assert figures[0] == "0 unstarted, 1 running, 0 compensating, 0 stuck, 2 completed, 1 compensated"
    assert worded(figures[2]).startswith("payment | 1 | 0 | 0 | 2 | 1 | 67% | ")
    assert here.ok("verify").out.startswith("ok ")


@pytest.mark.usefixtures("worker")
def test_the_timeline_fits_a_terminal_and_says_where_the_saga_is_stuck(cli: Command) -> None:
    terminal = Terminal(cli, "sagas", STUCK, "--color", "never", "--no-pager")
    assert terminal.end() == 0
    title, *lines = terminal.shown.replace("\r", "").splitlines()
    words = [worded(line).split(" | ") for line in lines]
    assert re.fullmatch(rf"{STUCK}  payment v2  STUCK  started (now|\ds ago)  correlation [0-9a-f]{{8}}", title)
    told = {each[1]: each for each in words if re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}", each[0])}
    assert told["event OrderPlaced"][2] == "taken"
    assert told["reserve"][2] == "succeeded"
    assert told["charge"][2:4] == ["failed", "3 attempts"]
    assert told["charge"][4].startswith("ValueError: line 3")
    assert told["saga compensating"][2].startswith("charge failed: ValueError")
    assert told["compensate reserve"][2:4] == ["failed", "5 attempts"]
    assert told["compensate reserve"][-1] == "<- stuck here"
    assert max(map(len, (title, *lines[: len(told)]))) <= 80
    assert lines[-1] == f"next: eventstore sagas retry {STUCK}   (or skip-step)"


@pytest.mark.usefixtures("worker")
def test_what_cannot_be_undone_asks_and_says_what_is_lost(here: Here, cli: Command) -> None:
    slow = "saga-payment-good-slow"
    nobody = here.run("sagas", "abort", slow, "--reason", "a test order")
    assert (nobody.code, "  field: --yes\n" in nobody.err) == (2, True)
    unreasoned = here.run("sagas", "skip-step", slow, "wait", "--yes")
    assert (unreasoned.code, "  field: --reason\n" in unreasoned.err) == (2, True)
    unnamed = here.run("sagas", "skip-step", slow, "--reason", "by hand", "--yes")
    assert (unnamed.code, "  field: STEP\n" in unnamed.err) == (2, True)

    skip = Terminal(cli, "sagas", "skip-step", STUCK, "--reason", "by hand", columns=120)
    skip.until(lambda shown: shown.endswith("[y/N] "))
    assert "Skip the compensation of reserve in saga-payment-bad-1? What reserve has done stays done" in skip.shown
    skip.press("n\n")
    assert skip.end() == 1
    assert "nothing was done" in skip.shown
    assert here.ok("sagas", STUCK, "--json").json["status"] == "stuck"

    abort = Terminal(cli, "sagas", "abort", slow, "--reason", "a test order", columns=120)
    abort.until(lambda shown: shown.endswith("[y/N] "))
    assert f"Abort {slow}? It does not go on; 1 step is taken back: reserve." in abort.shown
    abort.press("y\n")
    assert abort.end() == 0
    skipped = here.ok("sagas", "skip-step", STUCK, "--reason", "by hand", "--yes", "--json").json
    assert (skipped["outcome"], skipped["step"], skipped["action"]) == ("done", "reserve", "skip-step")
    wait_until(lambda: has_counts(here, stuck=1, compensated=1, running=0))  # the warehouse is still closed


def test_without_a_worker_what_is_asked_for_waits_and_the_command_says_so(here: Here, cli: Command) -> None:
    assert here.ok("sagas").err == "no sagas, or none that a worker has seen: eventstore work --app MODULE runs them\n"
    here.ok("publish", "order-1", "OrderPlaced", '{"order": "good-slow"}')
    up = cli.start("up", "--app", "shop")
    wait_for_line(up, "working for mailer, saga payment")
    wait_until(lambda: "$retry.wait" in here.run("sagas", "saga-payment-good-slow", "--json").out)
    assert interrupt(up)[0] == 0
    shown = here.ok("sagas", "saga-payment-good-slow")
    assert shown.err == "no worker runs sagas of type payment: eventstore work --app MODULE\n"
    assert worded(shown.out.splitlines()[-1]).split(" | ")[1:] == ["the next attempt at wait", "due"]
    asked = here.ok("sagas", "abort", "saga-payment-good-slow", "--reason", "a test", "--yes")
    assert asked.out == "saga-payment-good-slow: the abort is recorded\n"
    assert asked.err == "no worker runs this saga: the next one carries it out\n"
    assert "asked for: abort\n" in here.ok("sagas", "saga-payment-good-slow").out
    (cli.folder / "mended").touch()
    work = cli.start("work", "--app", "shop", "--group", "saga.payment.route", "--json")
    assert '"saga.payment.react"' in wait_for_line(work, "{")
    wait_until(lambda: has_counts(here, compensated=1))
    assert interrupt(work)[0] == 0


def test_what_is_not_there_is_told(here: Here) -> None:
    missing = here.run("sagas", "show", "saga-payment-9")
    assert (missing.code, missing.err.splitlines()[0]) == (
        4,
        "error: saga-not-found: there is no saga saga-payment-9",
    )
    assert here.run("sagas", "abort", "saga-payment-9", "--reason", "x", "--yes").code == 4
    unknown = here.run("sagas", "stats", "--type", "payments")
    assert (unknown.code, "no worker has run sagas of type payments yet" in unknown.err) == (4, True)
    assert "  field: --type\n" in unknown.err
    wrong = here.run("sagas", "list", "--status", "broken")
    assert (wrong.code, "  field: --status\n" in wrong.err) == (2, True)
    assert here.run("sagas", "saga-payment-9", "--limit", "2").code == 2
    taken = here.run("groups", "create", "saga.payment.react")
    assert (taken.code, "a worker that runs the saga makes its groups itself" in taken.err) == (2, True)


def test_a_definition_is_drawn(here: Here, cli: Command) -> None:
    drawn = here.ok("sagas", "graph", "shop").out
    assert drawn.startswith("flowchart TD\n")
    assert '["charge"]' in drawn
    assert here.ok("sagas", "graph", "shop:payment", "--json").json == {
        "type": "payment",
        "version": 2,
        "mermaid": drawn.rstrip("\n"),
    }
    for wrong, says in (("shop:pay", "module shop has no saga pay"), ("no.such", "module no.such cannot be imported")):
        refused = here.run("sagas", "graph", wrong)
        assert refused.code == 2
        assert says in refused.err
        assert "  field: MODULE\n" in refused.err


@pytest.mark.usefixtures("worker")
def test_ids_and_types_are_completed() -> None:
    assert saga_names(SimpleNamespace(incomplete="saga-payment-b")) == [STUCK]
    assert len(saga_names(SimpleNamespace(incomplete=""))) == 4
    assert saga_names(SimpleNamespace(incomplete="order-")) == []
    assert saga_types(SimpleNamespace(incomplete="pay")) == ["payment"]
