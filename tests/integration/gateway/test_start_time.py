"""`eventstore --help` comes before a person notices."""

import time

from tests.support.command import Command


def test_help_comes_within_300_ms(cli: Command) -> None:
    def seconds() -> float:
        began = time.perf_counter()
        cli.ok("--help")
        return time.perf_counter() - began

    assert min(seconds() for _ in range(5)) < 0.3
