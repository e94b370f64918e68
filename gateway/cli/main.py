"""From arguments to an exit code."""

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from gateway.cli.commands import COMMANDS, overview

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from inspect import BoundArguments

    from cyclopts import App
    from cyclopts.exceptions import CycloptsError

    from gateway.cli.manners.flags import Flags

DONE, INTERRUPTED, CLOSED_PIPE = 0, 130, 141


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads any more. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    return code


def _run(arguments: list[str]) -> int:
    match arguments:
        case [] | ["--help"] | ["-h"]:
            print(overview())
            return DONE
        case ["--version"]:
            print(version())
            return DONE
    return _run_command(arguments) if find_spec("cyclopts") else _not_installed()


def version() -> str:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("redis-eventstore")
    except PackageNotFoundError:
        return "0 (not installed)"


def _not_installed() -> int:
    """The console script is there with every installation, what it is made of only with the extra."""
    from gateway.cli.manners.errors import print_error
    from gateway.errors import BadRequest

    error = BadRequest("the command line is not installed", remedy="pip install 'redis-eventstore[cli,embedded]'")
    return print_error(error, frozenset(), json=False, verbose=False, color=False)


def _run_command(arguments: list[str]) -> int:
    from cyclopts.exceptions import CycloptsError

    from gateway.cli.manners.flags import behind_command
    from infrastructure.errors import EventStoreError

    app = make_app()
    words = behind_command(arguments)
    if words[0] in {"--help", "-h"}:
        print(overview())
        return DONE
    try:
        _check_command(words[0])
        command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
        _check_values(app, words)
    except (CycloptsError, EventStoreError) as error:
        from gateway.cli.manners.errors import print_error

        asked = set(words[: words.index("--")] if "--" in words else words)
        flags = {"json": "--json" in asked, "verbose": bool({"-v", "--verbose"} & asked), "color": False}
        usage = _usage_error(app, error, words) if isinstance(error, CycloptsError) else error
        return print_error(usage, frozenset(), **flags)
    _load_client(words[0], bound)
    return _call(command, bound, lambda: _names(app, words))


def _check_command(name: str) -> None:
    from difflib import get_close_matches

    from gateway.errors import BadRequest

    names = [command.name for command in COMMANDS]
    if name in names or name in {"--version", "__complete"}:
        return
    if name.startswith("-"):
        raise BadRequest(f"there is no command after {name}", field="COMMAND", remedy="eventstore --help")
    near = get_close_matches(name, names, n=1)
    guess = f", did you mean {near[0]}?" if near else ""
    raise BadRequest(f"there is no command {name}{guess}", field="COMMAND", remedy="eventstore --help")


def _check_values(app: "App", words: list[str]) -> None:
    if not words[0].startswith(("-", "__")) and any(word == "" or word.endswith("=") for word in words):
        from gateway.cli.manners.empty import refuse_empty

        refuse_empty(_command_of(app, words), words)


def make_app() -> "App":
    """The parser of all commands."""
    from cyclopts import App

    app = App(name="eventstore", help="An event-sourced log on Redis Streams.", version=version, help_formatter="plain")
    for command in COMMANDS:
        app.command(f"gateway.cli.{command.module}:app", name=command.name, help=command.help + ".")
    return app


def _call(command: "Callable[..., Any]", bound: "BoundArguments", names: "Callable[[], frozenset[str]]") -> int:
    import asyncio
    import inspect

    flags = _flags(bound)
    try:
        result = command(*bound.args, **bound.kwargs)
        code = asyncio.run(_until_terminated(result)) if inspect.iscoroutine(result) else result
        return code if isinstance(code, int) else DONE
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BaseException as raised:  # noqa: BLE001 - whatever it is, it becomes an exit code and one error
        from gateway.cli.manners.errors import print_error, single
        from gateway.cli.manners.interrupt import Interrupted
        from gateway.cli.manners.pager import PagerLeft
        from gateway.cli.manners.session import wants_color

        error = single(raised)
        match error:
            case PagerLeft():
                return DONE
            case SystemExit(__context__=BrokenPipeError()):  # rich, which prints --help, makes a 1 of it
                return CLOSED_PIPE
            case BrokenPipeError() | SystemExit():
                raise error from None
            case KeyboardInterrupt():
                return INTERRUPTED
            case Interrupted():
                print(f"interrupted: {error}", file=sys.stderr)
                return INTERRUPTED
        color = wants_color(flags.color if flags else "auto", on_terminal=sys.stderr.isatty())
        json, verbose = (flags.json, flags.verbose) if flags else (False, False)
        return print_error(error, names(), json=json, verbose=verbose, color=color)


def _load_client(name: str, bound: "BoundArguments") -> None:
    """For commands that talk to the server and run no code of the user's."""
    from gateway.cli.manners.flags import ServerFlags

    takes_server = any(isinstance(each.default, ServerFlags) for each in bound.signature.parameters.values())
    if takes_server and name != "config" and bound.arguments.get("app") is None:
        from gateway.cli.manners.client import load_client

        load_client()


async def _until_terminated(work: "Coroutine[Any, Any, Any]") -> Any:
    """SIGTERM, and the end of the terminal, end a command as Ctrl-C does: what it has open is closed first."""
    import asyncio

    from gateway.cli.manners.interrupt import ending_signals

    task = asyncio.current_task()
    if task is not None:
        for number in ending_signals():
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await work


def _flags(bound: "BoundArguments") -> "Flags | None":
    from gateway.cli.manners.flags import Flags

    return next((value for value in bound.arguments.values() if isinstance(value, Flags)), None)


def _names(app: "App", words: list[str]) -> frozenset[str]:
    """Flags and positionals of a command."""
    found = _command_of(app, words)
    return frozenset(each for argument in found.assemble_argument_collection() for each in argument.names)


def _command_of(app: "App", words: list[str]) -> "App":
    """The verb, if it is a noun with one."""
    found = app[words[0]]
    has_verb = len(words) > 1 and not words[1].startswith("-") and words[1] in found
    return found[words[1]] if has_verb else found


def _usage_error(app: "App", error: "CycloptsError", words: list[str]) -> Exception:
    from cyclopts.exceptions import UnusedCliTokensError

    from gateway.cli.manners.flags import ALL
    from gateway.errors import BadRequest

    command = words[0]
    known = _names(app, words)
    for flag in (word.partition("=")[0] for word in words):
        if flag in ALL and flag not in known:
            return BadRequest(f"{flag} has no effect on {command}", field=flag, remedy="leave it out")
    remedy = f"eventstore {command} --help"
    if isinstance(error, UnusedCliTokensError):
        unused = " ".join(error.unused_tokens or [])
        return BadRequest(f"{command} takes no more arguments: {unused}", remedy=remedy)
    field = error.argument.name if error.argument is not None else None
    return BadRequest(" ".join(str(error).split()), field=field, remedy=remedy)
