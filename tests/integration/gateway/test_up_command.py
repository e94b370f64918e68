"""up: the server and a module's consumers in one process."""

import os
import signal

import pytest

from tests.support.command import Command, interrupt, wait_for_line, wait_until

SHOP = """
import os
import anyio
from msgspec import Struct
from consumers import Resource, consumer

class OrderPlaced(Struct):
    total: int

class OrderShipped(Struct):
    pass

class Till(Struct):
    name: str

till = Resource(Till, lambda: Till("front"))

@consumer("charge-cards", grace="30s")
async def charge(event: OrderPlaced, till: Till) -> OrderShipped:
    print("charges", event.total, till.name, flush=True)
    if event.total == 500:
        await anyio.wait_readable(os.open("go", os.O_RDONLY | os.O_NONBLOCK))
    return OrderShipped()
"""


@pytest.fixture
def shop(embedded: Command) -> Command:
    (embedded.folder / "shop.py").write_text(SHOP)
    os.mkfifo(embedded.folder / "go")  # what lets an order of 500 go on
    return embedded


def test_consumers_run_beside_the_server_until_the_handlers_that_run_have_ended(shop: Command) -> None:
    up = shop.start("up", "--app", "shop")
    assert wait_for_line(up, "working for") == "working for charge-cards\n"
    shop.ok("publish", "order-1", "OrderPlaced", '{"total": 500}')
    wait_for_line(up, "charges 500 front")
    up.send_signal(signal.SIGINT)
    assert up.stderr is not None
    assert up.stderr.readline() == "stopping: running handlers may finish\n"
    (shop.folder / "go").write_text("now")
    assert up.communicate(timeout=30) == ("", "")
    assert up.returncode == 0
    assert [event["type"] for event in shop.ok("read", "order-1", "--json").items] == ["OrderPlaced", "OrderShipped"]
    assert shop.ok("groups", "charge-cards", "--json").json["members"] == []


def test_they_end_on_sigterm_and_are_named_in_json(shop: Command) -> None:
    up = shop.start("up", "--json", "--app", "shop")
    assert '"groups":["charge-cards"]' in wait_for_line(up, "{")
    assert interrupt(up, signal.SIGTERM)[0] == 0


def test_a_second_signal_does_not_wait_for_the_handlers(shop: Command) -> None:
    up = shop.start("up", "--app", "shop")
    wait_for_line(up, "stop it")
    shop.ok("publish", "order-1", "OrderPlaced", '{"total": 500}')
    wait_for_line(up, "charges 500 front")
    up.send_signal(signal.SIGINT)
    assert up.stderr is not None
    assert up.stderr.readline() == "stopping: running handlers may finish\n"
    assert interrupt(up)[0] == 130
    again = shop.start("up", "--app", "shop")
    wait_for_line(again, "charges 500 front")  # it was no attempt
    again.kill()
    again.communicate()
    shop.ok("log")  # the last one out stops the server that a killed one has left


def test_consumers_go_on_after_the_server_was_killed(shop: Command) -> None:
    up = shop.start("up", "--app", "shop")
    shop.ok("publish", "order-1", "OrderPlaced", '{"total": 1}')
    wait_for_line(up, "charges 1 front")
    lock = shop.folder / ".eventstore" / "lock"
    before = int(lock.read_text())
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: lock.read_text() not in {"", str(before)})
    shop.ok("publish", "order-2", "OrderPlaced", '{"total": 2}')
    wait_for_line(up, "charges 2 front")
    assert interrupt(up)[0] == 0


def test_a_worker_beside_it_shares_the_partitions(shop: Command) -> None:
    up = shop.start("up", "--app", "shop")
    wait_for_line(up, "stop it")
    work = shop.start("work", "--app", "shop")
    wait_for_line(work, "stop it")

    def shares() -> list[int]:
        return sorted(len(each["partitions"]) for each in shop.ok("groups", "charge-cards", "--json").json["members"])

    wait_until(lambda: shares() == [2, 2])
    assert interrupt(work)[0] == interrupt(up)[0] == 0


def test_what_ends_its_consumers_ends_it(shop: Command) -> None:
    up = shop.start("up", "--app", "shop")
    wait_for_line(up, "stop it")
    wait_until(lambda: shop.run("groups", "delete", "charge-cards", "--force").code == 0)
    _, said = up.communicate(timeout=60)
    assert up.returncode == 4
    assert "error: group-not-found" in said
