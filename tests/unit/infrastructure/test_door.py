"""What importing the package costs: the command line must start fast."""

import subprocess
import sys

import infrastructure


def test_every_name_of_the_door_is_there() -> None:
    assert all(hasattr(infrastructure, name) for name in infrastructure.__all__)


def test_neither_the_door_nor_the_embedded_server_loads_the_redis_client() -> None:
    loaded = _loaded_by("infrastructure, infrastructure.embedded, infrastructure.lua, infrastructure.refusals")
    assert "msgspec" in loaded
    assert "redis" not in loaded
    assert "yaml" not in loaded


def _loaded_by(modules: str) -> list[str]:
    code = f"import sys, {modules}; print(*sys.modules)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()
