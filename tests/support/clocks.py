"""A server whose clock is wrong, by libfaketime (Debian's package `faketime`)."""

from pathlib import Path

import pytest

_LIBRARIES = ("usr/lib/*/faketime/libfaketimeMT.so.1", "usr/local/lib/faketime/libfaketimeMT.so.1")


def clock_off_by(seconds: float) -> dict[str, str]:
    """The environment of a process whose wall clock is ahead by so much (behind, below 0); the monotonic one is right,
    so that its timers fire as ever. Only for Valkey 9.1 (`find_program`): a server with jemalloc hangs as it starts.
    Skips the test where the library is missing."""
    library = next((found for pattern in _LIBRARIES for found in Path("/").glob(pattern)), None)
    if library is None:
        pytest.skip("libfaketime is not installed: apt-get install faketime")
    return {"LD_PRELOAD": str(library), "FAKETIME": f"{seconds:+.3f}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
