"""Log lines of the packages below, on stderr and never across a progress bar."""

import logging
from typing import TYPE_CHECKING, Any

import structlog

from gateway.cli.manners.text import safe

if TYPE_CHECKING:
    from gateway.cli.manners.session import Session


def configure_logs(session: "Session") -> None:
    """Warnings and worse; with -v everything, with -q errors only. What a start says of the server each time is for
    `up` and `doctor`: before the answer to every small question it would be noise."""
    level = logging.DEBUG if session.flags.verbose else logging.ERROR if session.flags.quiet else logging.WARNING
    structlog.configure(
        processors=[
            _without_checks(session),
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Stderr(session),
        cache_logger_on_first_use=False,
    )


def _without_checks(session: "Session") -> Any:
    wanted = session.flags.verbose or session.server_checks_wanted

    def drop(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        if event.get("event") == "server_check" and not wanted:
            raise structlog.DropEvent
        return event

    return drop


class _Stderr:
    """What structlog writes a finished line to."""

    def __init__(self, session: "Session") -> None:
        self._session = session

    def msg(self, line: str) -> None:
        self._session.write_stderr(line)

    debug = info = warning = error = critical = exception = log = msg


def _line(_logger: object, _method: str, event: Any) -> str:
    """`warning: events_lost partition=3 first=51`."""
    level, name = event.pop("level", "info"), event.pop("event", "")
    trace = event.pop("exception", None)
    facts = " ".join(f"{key}={safe(str(value))}" for key, value in event.items())
    line = f"{level}: {safe(str(name))} {facts}".rstrip()
    return f"{line}\n{trace}" if trace else line
