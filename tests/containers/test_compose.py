"""docker-compose.infrastructure.yml, brought up for real: under a name, ports and secrets of its own."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from tests.support.servers import free_port

_FILE = Path(__file__).parents[2] / "docker-compose.infrastructure.yml"


class Stack:
    """The services, as a user starts them."""

    def __init__(self, secrets: Path) -> None:
        self.name = f"eventstore-test-{uuid.uuid4().hex[:8]}"
        self.password = uuid.uuid4().hex
        self.redis_port, self.postgres_port = free_port(), free_port()
        (secrets / "postgres_password").write_text(self.password + "\n")
        self._environment = {
            **os.environ,
            "SECRETS_DIR": str(secrets),
            "REDIS_PORT": str(self.redis_port),
            "POSTGRES_PORT": str(self.postgres_port),
        }

    def compose(self, *words: str) -> str:
        command = ["docker", "compose", "--file", str(_FILE), "--project-name", self.name, *words]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}\n{done.stdout}"
        return done.stdout

    def redis(self) -> "redis.Redis":
        return redis.Redis(port=self.redis_port, protocol=2, decode_responses=True, socket_timeout=10)

    def postgres(self) -> "psycopg.Connection":
        return psycopg.connect(
            host="127.0.0.1", port=self.postgres_port, user="eventstore", dbname="eventstore", password=self.password
        )


@pytest.fixture(scope="module")
def stack(docker_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker has no compose command")
    stack = Stack(tmp_path_factory.mktemp("secrets"))
    try:
        stack.compose("up", "--wait")
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "20")


def test_the_file_keeps_the_schema_of_compose() -> None:
    checker = str(Path(sys.executable).with_name("check-jsonschema"))
    command = [checker, "--builtin-schema", "vendor.compose-spec", str(_FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_redis_is_set_to_keep_every_event(stack: Stack) -> None:
    with stack.redis() as client:
        wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": ""}
        assert {name: client.config_get(name)[name] for name in wanted} == wanted
        assert int(client.config_get("maxmemory")["maxmemory"]) == 1 << 30


def test_no_service_runs_as_root_or_listens_beyond_this_machine(stack: Stack) -> None:
    for service, inner in (("redis", 6379), ("postgres", 5432)):
        assert stack.compose("exec", "-T", service, "id", "-u").strip() == "999"
        assert stack.compose("port", service, str(inner)).startswith("127.0.0.1:")


def test_what_was_acknowledged_survives_a_crash(stack: Stack) -> None:
    with stack.redis() as client, stack.postgres() as connection:
        client.xadd("log", {"e": "kept"}, id="1-1")
        connection.execute("CREATE TABLE kept (name text)")
        connection.execute("INSERT INTO kept VALUES ('row')")
    stack.compose("kill")
    stack.compose("up", "--wait")
    with stack.redis() as client, stack.postgres() as connection:
        assert client.xrange("log") == [("1-1", {"e": "kept"})]
        assert connection.execute("SELECT name FROM kept").fetchall() == [("row",)]


def test_a_full_redis_refuses_and_keeps_what_it_has(stack: Stack) -> None:
    with stack.redis() as client:
        client.xadd("full", {"e": "kept"}, id="1-1")
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                client.xadd("full", {"e": "refused"})
        finally:
            client.config_set("maxmemory", "1gb")
        assert client.xlen("full") == 1
