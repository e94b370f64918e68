"""The Redis user of docs/reference.md, made as it says there: every command works as this user."""

import re
import shlex
from collections.abc import Iterator

import pytest

from tests.support.command import ROOT, Command
from tests.support.servers import Server


@pytest.fixture
def user(cli: Command, server: Server) -> Iterator[Command]:
    rule = shlex.split(_block("redis-cli ACL SETUSER eventstore"))[4:]
    prefix = cli.environment["EVENTSTORE_PREFIX"]
    server.admin("ACL", "SETUSER", "eventstore", "reset", *(word.replace("~es:", f"~{prefix}:") for word in rule))
    yield Command(
        cli.folder,
        REDIS_URL=server.url.replace("redis://", "redis://eventstore:password@"),
        EVENTSTORE_PREFIX=prefix,
        EVENTSTORE_PARTITIONS="4",
    )
    server.admin("ACL", "DELUSER", "eventstore")


@pytest.mark.parametrize(
    "arguments",
    [
        ("doctor",),
        ("read", "order-42"),
        ("tail", "--since", "-1h", "--limit", "1"),
        ("tail", "--since", "-1h", "--limit", "1", "--order", "total"),
        ("streams",),
        ("log",),
        ("audit",),
        ("jobs",),
        ("verify",),
        ("export", "--out", "events.ndjson"),
        ("import", "new.ndjson"),
        ("bench", "--events", "200"),
    ],
    ids=" ".join,
)
def test_the_rights_of_the_reference_suffice(user: Command, arguments: tuple[str, ...]) -> None:
    (user.folder / "new.ndjson").write_text('{"type": "OrderPlaced", "stream": "order-7", "data": {"total": 1}}\n')
    user.ok("publish", "order-42", "OrderPlaced", '{"total": 99}', "--expected", "0")
    user.ok(*arguments)


def _block(beginning: str) -> str:
    """The shell command of the reference that begins so, which is given for Redis 7.0."""
    text = (ROOT / "docs" / "reference.md").read_text()
    found = re.search(rf"^{re.escape(beginning)}(?:.*\\\n)*.*$", text, re.MULTILINE)
    assert found, beginning
    return found[0].replace("\\\n", " ")
