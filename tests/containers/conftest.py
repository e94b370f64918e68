"""Servers in containers, under the names of the official images. Each starts once in a worker that has tests for it."""

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from testcontainers.community.redis import RedisContainer


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.docker)


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """A Docker engine that answers the docker command, as it does testcontainers."""
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    asked = subprocess.run(["docker", "version"], capture_output=True, text=True, timeout=20, check=False)
    if asked.returncode:
        pytest.skip(f"no Docker engine answers: {asked.stderr.strip()}")


@pytest.fixture(scope="session")
def redis7(docker_engine: None) -> Iterator[str]:
    """The URL of a Redis 7 in a container; all tests share it, so each uses a prefix of its own."""
    yield from _server("redis:7")


@pytest.fixture(scope="session")
def valkey8(docker_engine: None) -> Iterator[str]:
    """The URL of a Valkey 8 in a container; all tests share it, so each uses a prefix of its own."""
    yield from _server("valkey/valkey:8")


@pytest.fixture(scope="session", params=["redis:7", "redis:8", "valkey/valkey:8", "valkey/valkey:9"])
def any_server(docker_engine: None, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of each server that we promise to run on, one after the other."""
    yield from _server(request.param)


def _server(image: str) -> Iterator[str]:
    with RedisContainer(image) as container:
        yield f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(container.port)}"
