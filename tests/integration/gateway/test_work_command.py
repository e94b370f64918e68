"""work: the consumers of a module, in a process of their own."""

import signal

import pytest

from tests.support.command import Command, interrupt, wait_for_line

SHOP = """
import threading
from msgspec import Struct
from consumers import Context, Resource, consumer

class OrderPlaced(Struct):
    total: int

class Till(Struct):
    name: str

till = Resource(Till, lambda: Till("front"))

@consumer("charge-cards", grace="300ms")
async def charge(event: OrderPlaced, till: Till) -> None:
    print("charged", event.total, till.name, flush=True)

@consumer("stuck", grace="300ms")
def hang(event: OrderPlaced, ctx: Context) -> None:
    print("hangs", flush=True)
    threading.Event().wait()
"""


@pytest.fixture
def shop(cli: Command) -> Command:
    (cli.folder / "shop.py").write_text(SHOP)
    return cli


def test_it_handles_what_is_there_and_what_comes_until_it_is_stopped(shop: Command) -> None:
    shop.ok("publish", "order-1", "OrderPlaced", '{"total": 1}')
    work = shop.start("work", "--app", "shop", "--group", "charge-cards")
    wait_for_line(work, "charged 1 front")
    shop.ok("publish", "order-1", "OrderPlaced", '{"total": 2}')
    wait_for_line(work, "charged 2 front")
    assert interrupt(work)[0] == 0
    assert "charge-cards" in shop.ok("groups").out


def test_a_handler_that_never_ends_does_not_hold_up_the_exit(shop: Command) -> None:
    shop.ok("publish", "order-1", "OrderPlaced", '{"total": 1}')
    work = shop.start("work", "--app", "shop", "--group", "stuck")
    wait_for_line(work, "hangs")
    work.send_signal(signal.SIGTERM)
    work.communicate(timeout=15)
    assert work.returncode == 0


def test_a_module_without_consumers_is_refused(cli: Command) -> None:
    (cli.folder / "empty.py").write_text("")
    failed = cli.run("work", "--app", "empty")
    assert failed.code == 2
    assert "has no consumer" in failed.err
    assert "@consumer" in failed.err


def test_a_group_that_the_module_does_not_have_is_refused_with_those_it_has(shop: Command) -> None:
    failed = shop.run("work", "--app", "shop", "--group", "charge")
    assert failed.code == 2
    assert "charge-cards, stuck" in failed.err


@pytest.mark.parametrize("command", ["work", "up"])
@pytest.mark.parametrize(
    ("before", "after", "says", "hint"),
    [
        ('"stuck"', '"charge-cards"', "two consumers are called charge-cards", ".also() adds a handler"),
        ("till = Resource(", "till = (", "handler charge(till) wants a resource of Till", "resource = Resource(Till, "),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_announced(
    shop: Command, command: str, before: str, after: str, says: str, hint: str
) -> None:
    (shop.folder / "shop.py").write_text(SHOP.replace(before, after))
    failed = shop.run(command, "--app", "shop")
    assert (failed.code, failed.out) == (2, "")
    assert failed.err.startswith(f"error: bad-request: {says}")
    assert hint in failed.err
