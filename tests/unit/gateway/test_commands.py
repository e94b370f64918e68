"""The grammar of all commands: help, flags, what is refused, what is not imported."""

import re
import subprocess
import sys

import pytest

from gateway.cli.commands import COMMANDS, overview
from gateway.cli.main import make_app, run

NAMES = [command.name for command in COMMANDS]


def help_of(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert run([name, "--help"]) == 0
    return capsys.readouterr().out


def test_the_overview_lists_every_command() -> None:
    assert re.findall(r"^  ([a-z]+) ", overview(), re.MULTILINE) == NAMES


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["--json", "--help"]])
def test_the_overview_comes_without_a_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    assert capsys.readouterr().out == overview() + "\n"


@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_a_command_ends_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = help_of(name, capsys).rstrip().splitlines()
    assert lines[-1].startswith(f"    eventstore {name}")
    assert lines[-3] == "Example:"


@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_a_command_fits_a_narrow_terminal(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert max(map(len, help_of(name, capsys).splitlines())) <= 80


def test_the_overview_fits_a_narrow_terminal() -> None:
    assert max(map(len, overview().splitlines())) <= 80


@pytest.mark.parametrize("arguments", [["--version"], ["read", "--version"]])
def test_the_version(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    assert re.fullmatch(r"\S.*\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "says", "field"),
    [
        (["verfy"], "there is no command verfy, did you mean verify?", "COMMAND"),
        (["--url"], "there is no command after --url", "COMMAND"),
        (["--nonsense", "read"], "there is no command after --nonsense", "COMMAND"),
        (["publish", "order-42"], 'Command "publish" parameter TYPE requires an argument.', "TYPE"),
        (["publish", "s", "T", "1", "2"], "publish takes no more arguments: 2", None),
        (["read", "s", "--nonsense"], "Unknown option: --nonsense.", None),
        (["publish", "s", "T", "--expcted"], "there is no flag --expcted here", "--expcted"),
        (["import", "--strem"], "there is no flag --strem here", "--strem"),
        (["read", "s", "--from", "x"], 'Invalid value for --from: unable to convert "x" into int.', "--from"),
        (["read", "s", "--from", "0"], "0 is not a version", "--from"),
        (["read", "s", "--limit", "0"], "0 is not a count", "--limit"),
        (["read", "s", "--time", "soon"], 'Invalid value "soon" for --time.', "--time"),
        (["publish", "s", "T", "--expected", "x"], "'x' is not any, exists or a version", "--expected"),
        (["publish", "s", "T", "--id", "7"], "'7' is not a UUID", "--id"),
        (["publish", "s", "T", "--priority", "soon"], "'soon' is not a priority", "--priority"),
        (["publish", "s", "T", "--header", "k"], "'k' is not K=V", "--header"),
        (["tail", "--since", "yesterday"], "'yesterday' is not a time", "--since"),
        (["tail", "--since", "-15x"], "'15x': not a duration", "--since"),
        (["tail", "--until-idle", "soon"], "'soon': not a duration", "--until-idle"),
        (["tail", "--timeout", "1y"], "'1y': not a duration", "--timeout"),
        (["import", "/no/such/file"], "/no/such/file does not exist", "FILE"),
        (["import", "/"], "/ is not a file; - reads stdin", "FILE"),
        (["types", "--app", "no.such"], "module no.such cannot be imported: ModuleNotFoundError", "--app"),
        (["up", "--app", "no.such"], "module no.such cannot be imported: ModuleNotFoundError", "--app"),
        (["jobs", "0199", "--limit", "3"], "--limit has no effect on one job", "--limit"),
        (["completion", "tcsh"], 'Invalid value "tcsh" for SHELL.', "SHELL"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    arguments: list[str], says: str, field: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: bad-request: {says}")
    assert (re.findall(r"^  field: (.*)$", err, re.MULTILINE) or [None]) == [field]


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["tail", "--correlation", ""], "--correlation"),
        (["tail", "--type", "OrderPlaced", "--type", ""], "--type"),
        (["export", "--type="], "--type"),
        (["export", "--out", ""], "--out"),
        (["streams", "--category", ""], "--category"),
        (["streams", "--url", ""], "--url"),
        (["--config", "", "streams"], "--config"),
        (["dlq", "list", "--prefix", ""], "--prefix"),
        (["dlq", "stats", "--error", ""], "--error"),
        (["dlq", "retry", "--type", "", "--execute"], "--type"),
        (["dlq", "export", "--category", ""], "--category"),
        (["replay", "mailer", "--to", "earliest", "--stream", ""], "--stream"),
        (["replay", "mailer", "--to", "earliest", "--type", ""], "--type"),
        (["replay", "mailer", "--to", ""], "--to"),
        (["work", "--app", "shop", "--group", ""], "--group"),
        (["publish", "order-42", "OrderPlaced", "--correlation", ""], "--correlation"),
    ],
)
def test_a_flag_with_an_empty_value_is_refused(
    arguments: list[str], flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: bad-request: {flag} is empty\n  field: {flag}\n  hint:  give a value, or leave")


def test_an_empty_word_behind_a_switch_is_no_value_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["publish", "order-42", "OrderPlaced", "--json", ""]) == 1
    assert '"code":"invalid-event"' in capsys.readouterr().err


@pytest.mark.parametrize("data", ["{total: 99}", "{'total': 99}", "99}"])
def test_data_that_are_no_json_come_with_the_right_form(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["publish", "order-42", "OrderPlaced", data]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: invalid-event: this is not JSON: ")
    assert "  field: DATA\n  hint:  single quotes around, double quotes within: '{\"total\": 99}'" in err


def test_data_with_a_repeated_key_keep_their_own_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["publish", "order-42", "OrderPlaced", '{"a": 1, "a": 2}']) == 1
    assert "  hint:  keep one of them\n" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["publish", "order-42", "OrderPlaced"], ["doctor"], ["read", "--help"]])
def test_without_the_extra_the_command_says_what_to_install(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cyclopts", None)  # which is how Python marks what cannot be imported
    assert run(arguments) == 2
    assert capsys.readouterr().err == (
        "error: bad-request: the command line is not installed\n  hint:  pip install 'redis-eventstore[cli,embedded]'\n"
    )


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["config", "--time", "iso"], "--time"),
        (["publish", "s", "T", "--time", "iso"], "--time"),
        (["completion", "bash", "--url", "redis://h"], "--url"),
        (["completion", "bash", "--json"], "--json"),
        (["types", "--app", "x", "--timeout", "1s"], "--timeout"),
        (["read", "s", "--json", "--time", "iso"], "--time"),
    ],
)
def test_a_flag_without_effect_is_refused(arguments: list[str], flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert "has no effect" in err
    assert flag in err


@pytest.mark.parametrize(
    ("data", "says"),
    [('{"a": 1, "a": 2}', "'a' stands twice"), ("NaN", "NaN"), ("{", "not JSON"), ('"\\ud800"', "not UTF-8")],
)
def test_bad_json_is_an_invalid_event(data: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["publish", "order-42", "OrderPlaced", data]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: invalid-event:")
    assert says in err
    assert "  field: DATA\n" in err


def test_an_error_is_json_where_json_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--json", "verfy"]) == 2
    assert capsys.readouterr().err.startswith('{"type":"/problems/bad-request","code":"bad-request"')


def test_every_flag_of_a_command_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for name in NAMES:
        for line in help_of(name, capsys).splitlines():
            if line.startswith("  -"):
                assert re.match(r"  (--?[a-z-]+)(, -[a-z])?( [A-Z.]+)?: \S", line), line


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_the_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in NAMES)


@pytest.mark.parametrize("arguments", [["--help"], ["publish", "--help"], ["--version"], ["config"]])
def test_the_redis_client_is_imported_where_it_is_needed_only(arguments: list[str]) -> None:
    program = (
        "import sys; from gateway.cli.main import run; code = run(sys.argv[1:]);"
        "assert 'redis' not in sys.modules, 'redis'; sys.exit(code)"
    )
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, stdout=subprocess.DEVNULL)


def test_the_parser_knows_every_command() -> None:
    app = make_app()
    assert {name for name in app if not name.startswith("-")} == set(NAMES)
