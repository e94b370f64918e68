"""The example at the end of every help runs."""

import shlex

import pytest

from gateway.cli.commands import COMMANDS, overview
from tests.support.command import Command, interrupt, wait_for_line


def example(text: str) -> list[str]:
    words = shlex.split(text.rstrip().splitlines()[-1])
    assert words[0] == "eventstore"
    return words[1:]


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_the_example_of_a_command_runs(cli: Command, name: str) -> None:
    for number in range(3 if name != "publish" else 0):
        cli.ok("publish", "order-42", "OrderPlaced", str(number))
    (cli.folder / "events.ndjson").write_text('{"type": "OrderPlaced", "stream": "order-7", "data": {"total": 1}}\n')
    words = example(cli.ok(name, "--help").out)
    if name == "up":
        up = cli.start(*words)
        wait_for_line(up, "eventstore is up at ")
        assert interrupt(up)[0] == 0
    else:
        cli.ok(*words)


def test_the_example_of_the_overview_runs(cli: Command) -> None:
    cli.ok(*example(overview()))


@pytest.mark.parametrize("verb", ["show", "cancel"])
def test_the_examples_of_jobs_name_a_job(cli: Command, verb: str) -> None:
    assert example(cli.ok("jobs", verb, "--help").out)[:2] == ["jobs", verb]
