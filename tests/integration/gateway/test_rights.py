"""The command line as the Redis user of docs/reference.md, made as it says there; test_least_rights.py has the rest."""

from collections.abc import Iterator

import pytest

from tests.support.command import Command
from tests.support.reference import rights_of
from tests.support.servers import Server


@pytest.fixture
def user(cli: Command, server: Server) -> Iterator[Command]:
    prefix = cli.environment["EVENTSTORE_PREFIX"]
    rules = [rule.replace("~es:", f"~{prefix}:") for rule in rights_of("eventstore", waitaof=False)]
    server.admin("ACL", "SETUSER", "eventstore", "reset", *rules)
    yield Command(
        cli.folder,
        REDIS_URL=server.url.replace("redis://", "redis://eventstore:password@"),
        EVENTSTORE_PREFIX=prefix,
        EVENTSTORE_PARTITIONS="4",
    )
    server.admin("ACL", "DELUSER", "eventstore")


def test_every_command_works_as_the_user_of_the_reference(user: Command) -> None:
    (user.folder / "new.ndjson").write_text('{"type": "OrderPlaced", "stream": "order-7", "data": {"total": 1}}\n')
    user.ok("publish", "order-42", "OrderPlaced", '{"total": 99}', "--expected", "0")
    for arguments in (
        ("doctor",),
        ("tail", "--since", "-1h", "--limit", "1", "--order", "total"),
        ("import", "new.ndjson"),
        ("verify",),
        ("bench", "--events", "200"),
    ):
        user.ok(*arguments)
