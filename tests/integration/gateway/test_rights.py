"""The command line as the Redis user of docs/reference.md, made as it says there; test_least_rights.py has the rest."""

from collections.abc import Iterator

import pytest

from tests.support.command import Command, interrupt, wait_for_line, wait_until
from tests.support.reference import rights_of
from tests.support.servers import Server


@pytest.fixture
def user(cli: Command, server: Server) -> Iterator[Command]:
    yield from as_user("eventstore", cli, server)


@pytest.fixture
def worker(cli: Command, server: Server) -> Iterator[Command]:
    yield from as_user("worker", cli, server)


def as_user(name: str, cli: Command, server: Server) -> Iterator[Command]:
    prefix = cli.environment["EVENTSTORE_PREFIX"]
    rules = [rule.replace("~es:", f"~{prefix}:") for rule in rights_of(name, waitaof=False)]
    server.admin("ACL", "SETUSER", name, "reset", *rules)
    yield Command(
        cli.folder,
        REDIS_URL=server.url.replace("redis://", f"redis://{name}:password@"),
        EVENTSTORE_PREFIX=prefix,
        EVENTSTORE_PARTITIONS="4",
    )
    server.admin("ACL", "DELUSER", name)


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


def test_a_user_without_groups_holds_the_server_up_without_read_models(user: Command) -> None:
    up = user.start("up")
    assert up.stderr is not None
    assert next(line for line in up.stderr if "no read models are kept" in line).startswith("warning: ")
    user.ok("publish", "order-42", "OrderPlaced")
    assert interrupt(up)[0] == 0


def test_read_models_are_kept_and_steered_as_the_worker_of_the_reference(worker: Command) -> None:
    worker.ok("publish", "order-42", "OrderPlaced")
    up = worker.start("up")
    wait_for_line(up, "keeping read models")
    wait_until(lambda: worker.ok("projections").out.count("live") == 3, seconds=60)
    worker.ok("projections", "rebuild", "streams", "--wait")
    worker.ok("projections", "rollback", "streams")
    worker.ok("projections", "drop", "streams", "2", "--yes")
    worker.ok("projections", "pause", "streams")
    worker.ok("projections", "show", "streams")
    assert interrupt(up)[0] == 0
