"""`eventstore --help` comes before a person notices: it loads nothing that takes time. Other commands load what they
need."""

import json
import subprocess
import sys

import pytest

from tests.support.command import Command

SLOW = {"redis", "cyclopts", "rich", "structlog", "yaml", "eventstore", "anyio", "sqlalchemy"}

PROGRAM = """
import json, sys
from gateway.cli import main
sys.argv[0] = "eventstore"
try:
    main()
except SystemExit:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def loaded(here: Command, *arguments: str) -> set[str]:
    """The modules that a command has loaded at its end."""
    words = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=here.folder, env=here.environment)
    assert done.stdout
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_help_loads_neither_the_client_nor_the_parser(cli: Command) -> None:
    assert SLOW & loaded(cli, "--help") == set()


@pytest.mark.parametrize(
    ("arguments", "without"),
    [
        (("read", "order-1", "--json"), {"consumers", "rich", "opentelemetry"}),
        (("streams",), {"consumers", "rich", "opentelemetry"}),
        (("publish", "order-1", "OrderPlaced"), {"consumers", "rich", "opentelemetry"}),
        (("log", "--json"), {"consumers", "rich", "opentelemetry"}),
        (("groups",), {"gateway.actions", "eventstore.transfer", "rich", "opentelemetry"}),
        (("dlq", "stats", "--json"), {"gateway.actions", "eventstore.transfer", "rich", "opentelemetry"}),
    ],
)
def test_a_command_loads_what_it_needs(cli: Command, arguments: tuple[str, ...], without: set[str]) -> None:
    cli.ok("publish", "order-1", "OrderPlaced")
    cli.ok("groups", "create", "mailer")
    found = loaded(cli, *arguments)
    assert "redis" in found
    assert (without | {"sqlalchemy"}) & found == set()
