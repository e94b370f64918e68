"""The flags that commands share. A command takes the class that has the flags with an effect on it, and no others."""

from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

SHARED = Group("Shared flags", sort_key=9)
Switch = Parameter(negative="", show_default=False)


@Parameter(name="*", group=SHARED)
@dataclass(frozen=True, kw_only=True)
class Flags:
    """What every command takes."""

    json: Annotated[bool, Switch] = False
    """Print JSON: a list as one object a line, all else as one object."""

    config: Annotated[Path | None, Parameter(show_default=False)] = None
    """A settings file, instead of config/app.yaml."""

    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative="", show_default=False)] = False
    """No notes and no progress on stderr."""

    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"], negative="", show_default=False)] = False
    """Log what happens, and show the traceback of an error."""

    color: Literal["auto", "always", "never"] = "auto"
    """Colour; auto: on a terminal, unless NO_COLOR is set."""

    no_input: Annotated[bool, Parameter(name="--no-input", negative="", show_default=False)] = False
    """Never ask; what would ask is refused."""

    no_pager: Annotated[bool, Parameter(name="--no-pager", negative="", show_default=False)] = False
    """Print everything at once, also if it is more than a screen."""


@dataclass(frozen=True, kw_only=True)
class ServerFlags(Flags):
    """What every command takes that talks to the server."""

    url: str | None = None
    """The server: redis://, rediss:// or unix://; instead of the settings."""

    timeout: str | None = None
    """The longest wait for the server, such as 10s."""


@dataclass(frozen=True, kw_only=True)
class TimeFlags(ServerFlags):
    """What every command takes that also prints times."""

    time: Literal["relative", "iso", "raw"] | None = None
    """How times are printed; relative on a terminal, else iso."""


WITH_VALUE = {"--config", "--color", "--url", "--timeout", "--time"}
WITHOUT_VALUE = {"--json", "--quiet", "-q", "--verbose", "-v", "--no-input", "--no-pager"}
ALL = WITH_VALUE | WITHOUT_VALUE


def behind_command(arguments: list[str]) -> list[str]:
    """The arguments with the shared flags that stand before the command moved behind it, which may be a noun and a
    verb, and what it acts on: they work at both places."""
    leading = 0
    while leading < len(arguments) and arguments[leading].startswith("-"):
        name, given, _ = arguments[leading].partition("=")
        if name not in ALL:
            break
        leading += 2 if name in WITH_VALUE and not given else 1
    if leading >= len(arguments):
        return arguments
    words = list(takewhile(lambda word: not word.startswith("-"), arguments[leading:])) or [arguments[leading]]
    return [*words, *arguments[:leading], *arguments[leading + len(words) :]]


PLAIN, SERVER, TIMED = Flags(), ServerFlags(), TimeFlags()
"""None given: the defaults of a command's `flags`."""
