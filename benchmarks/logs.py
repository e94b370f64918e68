"""What the log itself says during a run goes to standard error: the table is all that goes to standard output."""

import sys
from collections.abc import MutableMapping
from typing import Any

import structlog


def keep_off_stdout() -> None:
    """In each process. Our server has no maxmemory: to be told so at every start helps nobody."""
    processors = [_without_server_checks, *structlog.get_config()["processors"]]
    structlog.configure(processors, logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def _without_server_checks(_logger: Any, _level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if event["event"] == "server_check":
        raise structlog.DropEvent
    return event
