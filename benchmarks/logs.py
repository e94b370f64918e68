"""What the log itself says during a run goes to standard error: the table is all that goes to standard output."""

import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_USUAL = {"server_check", "partition_taken", "partition_left"}


def keep_off_stdout() -> None:
    """In each process. Our server has no maxmemory, and partitions come and go: to be told so helps nobody."""
    processors = [_without_the_usual, *structlog.get_config()["processors"]]
    structlog.configure(processors, logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def _without_the_usual(_logger: Any, _level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if event["event"] in _USUAL:
        raise structlog.DropEvent
    return event
