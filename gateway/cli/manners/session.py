"""One run of a command: its settings, the store, and where its output goes."""

import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from gateway.cli.manners.flags import Flags, ServerFlags, TimeFlags
from gateway.cli.manners.pager import Lines
from gateway.cli.manners.progress import Progress
from gateway.cli.manners.table import Column, Table
from gateway.moments import now_us, parse_moment, seconds_of, spell_ago

if TYPE_CHECKING:
    from eventstore.store import EventStore
    from infrastructure.settings import EffectiveSetting, Settings

DEFAULT_ROWS = 50  # of a list on a terminal


class Session:
    """Made from the flags of a command."""

    def __init__(self, flags: Flags, *, server_checks_wanted: bool = False) -> None:
        """`server_checks_wanted`: the command prints what the start has to say of the server."""
        self.flags = flags
        self.server_checks_wanted = server_checks_wanted
        self.json = flags.json
        self.on_terminal = sys.stdout.isatty()
        self.color = wants_color(flags.color, on_terminal=self.on_terminal)
        self._times = getattr(flags, "time", None) or ("relative" if self.on_terminal else "iso")
        self._now = now_us()
        self._progress: Progress | None = None
        if flags.json and isinstance(flags, TimeFlags) and flags.time:
            from gateway.errors import BadRequest

            raise BadRequest(
                "--time has no effect with --json, whose times are always RFC 3339",
                field="--time",
                remedy="leave it out",
            )

    # ---- settings and the store ----

    def settings(self) -> "Settings":
        from infrastructure.settings import load_settings

        return load_settings(file=self.flags.config, overrides=self._overrides())

    def effective_settings(self) -> "list[EffectiveSetting]":
        from infrastructure.settings import effective

        return effective(file=self.flags.config, overrides=self._overrides())

    @asynccontextmanager
    async def store(self, types: Iterable[type[Any]] = (), *, read_only: bool = False) -> "AsyncIterator[EventStore]":
        """The log, open. Logs of the packages below go to stderr. `read_only`: the command appends nothing."""
        from eventstore.store import EventStore

        self.configure_logs()
        async with EventStore.open(settings=self.settings(), types=types, read_only=read_only) as store:
            yield store

    def configure_logs(self) -> None:
        """To be called before anything of the packages below runs: they would log to stdout."""
        from gateway.cli.manners.logs import configure_logs

        configure_logs(self)

    def _overrides(self) -> dict[str, object]:
        flags = self.flags
        if not isinstance(flags, ServerFlags):
            return {}
        found: dict[str, object] = {"redis.url": flags.url}
        if flags.timeout is not None:
            seconds = seconds_of(flags.timeout, field="--timeout")
            for key in ("redis.socket_timeout", "redis.connect_timeout", "eventstore.append_timeout"):
                found[key] = seconds
        return found

    # ---- results, to stdout ----

    def show(self, shape: object, *lines: str) -> None:
        """One result: an object with --json, else the lines."""
        if self.json:
            self._print_json(shape)
        else:
            for line in lines:
                print(line)

    def show_json(self, shape: object) -> None:
        """One line of a list with --json."""
        self._print_json(shape)

    @contextmanager
    def table(self, *columns: Column, header: bool = True, paged: bool = True, cut: bool = False) -> Iterator[Table]:
        """A table for people; its rows are printed as they come, and at the latest when the block ends. With `cut` its
        last column ends at the edge of the terminal."""
        paged = paged and self.on_terminal and not self.flags.no_pager
        edge = shutil.get_terminal_size().columns if self.on_terminal else None
        lines = Lines(paged=paged)
        table = Table(columns, lines.write, color=self.color, edge=edge, header=header, cut=cut)
        yield table
        table.flush()
        lines.close()

    def limit(self, given: int | None) -> int | None:
        """How many rows a list has: what was given, else 50 on a terminal, else all."""
        return DEFAULT_ROWS if given is None and self.on_terminal and not self.json else given

    def time(self, moment: int | str | None) -> str:
        """A time, in microseconds or RFC 3339, as --time wants it."""
        if moment is None:
            return "-"
        time_us = parse_moment(moment, field="time") if isinstance(moment, str) else moment
        if self._times == "relative":
            return spell_ago(time_us, self._now)
        if self._times == "raw":
            return str(time_us)
        from eventstore.wire import rfc3339

        return rfc3339(time_us)

    def clock(self, moment: str, *, with_day: bool = False) -> str:
        """The time of day, in UTC, where `time` would tell how long ago that was; else as that does."""
        if self._times != "relative":
            return self.time(moment)
        return moment[5 if with_day else 11 : 23].replace("T", " ")

    # ---- notes, to stderr ----

    def note(self, text: str) -> None:
        """Something beside the result; -q leaves it out."""
        if not self.flags.quiet:
            self.write_stderr(text)

    def write_stderr(self, line: str) -> None:
        """A line that no progress bar covers."""
        if self._progress is not None:
            self._progress.clear()
        print(line, file=sys.stderr, flush=True)

    @contextmanager
    def progress(self, what: str) -> Iterator[Progress]:
        # Results that scroll by on the same terminal are progress enough.
        self._progress = Progress(what, enabled=not self.flags.quiet)
        try:
            yield self._progress
        finally:
            self._progress.clear()
            self._progress = None

    def _print_json(self, shape: object) -> None:
        from eventstore import wire

        sys.stdout.write(wire.encode(shape).decode() + "\n")
        if self.on_terminal:
            sys.stdout.flush()


def wants_color(choice: str, *, on_terminal: bool) -> bool:
    if choice != "auto":
        return choice == "always"
    return on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def count(number: int) -> str:
    return f"{number:,}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 event`, `2 events`; `many` is for what has another plural, or a verb."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


__all__: Sequence[str] = ["Column", "Session", "Table", "count", "counted", "wants_color"]
