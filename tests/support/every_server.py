"""The servers that we promise to run on, as programs of this machine."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from msgspec import Struct

from infrastructure.server_program import find_program


class Promised(Struct, frozen=True):
    """A server. `find` gives its program; where this machine lacks it, the test that asks is skipped."""

    product: str
    version: str
    find: Callable[[], str]

    def __str__(self) -> str:
        return f"{self.product} {self.version}"


def _named(variable: str, program: str) -> str:
    folder = os.environ.get(variable)
    if not folder:  # Debian 12 has no package of it; where it can be had, .ci/run insists on the variable
        pytest.skip(f"not applicable: {variable} is not set; tests/containers run this version too")
    if not Path(folder, program).exists():
        pytest.skip(f"{variable} is {folder}, where there is no {program}")
    return str(Path(folder, program))


EVERY = (
    Promised("redis", "7.0", lambda: "redis-server"),
    Promised("redis", "8.0", partial(_named, "REDIS8_BIN", "redis-server")),
    Promised("valkey", "8.1", partial(_named, "VALKEY8_BIN", "valkey-server")),
    Promised("valkey", "9.1", find_program),
)
