"""The example at the end of every help runs."""

import shlex

import pytest

from gateway.cli.commands import COMMANDS, overview
from tests.support.command import Command, interrupt, wait_for_line

ENDLESS = {"up": "eventstore is up at ", "work": "working for "}
SHOP = """
from msgspec import Struct
from consumers import consumer

class OrderPlaced(Struct):
    total: int

@consumer("charge-cards")
async def charge(event: OrderPlaced) -> None:
    print("charged", event.total, flush=True)
"""


def example(text: str) -> list[str]:
    words = shlex.split(text.rstrip().splitlines()[-1])
    assert words[0] == "eventstore"
    return words[1:]


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_the_example_of_a_command_runs(cli: Command, name: str) -> None:
    for number in range(3 if name != "publish" else 0):
        cli.ok("publish", "order-42", "OrderPlaced", str(number))
    (cli.folder / "events.ndjson").write_text('{"type": "OrderPlaced", "stream": "order-7", "data": {"total": 1}}\n')
    (cli.folder / "shop.py").write_text(SHOP)
    if name == "replay":
        cli.ok("groups", "create", "mailer", "--from", "latest")
    words = example(cli.ok(name, "--help").out)
    if name in ENDLESS:
        started = cli.start(*words)
        wait_for_line(started, ENDLESS[name])
        assert interrupt(started)[0] == 0
    else:
        cli.ok(*words)


def test_the_example_of_the_overview_runs(cli: Command) -> None:
    cli.ok(*example(overview()))


@pytest.mark.parametrize("verb", ["show", "cancel"])
def test_the_examples_of_jobs_name_a_job(cli: Command, verb: str) -> None:
    assert example(cli.ok("jobs", verb, "--help").out)[:2] == ["jobs", verb]
