"""What all commands have in common, without a server: tables, text, errors, progress."""

import io

import pytest

from eventstore.errors import WrongExpectedVersion
from gateway.cli.manners.errors import print_error
from gateway.cli.manners.flags import behind_command
from gateway.cli.manners.inputs import parse_headers
from gateway.cli.manners.progress import Progress
from gateway.cli.manners.session import wants_color
from gateway.cli.manners.table import Column, Table
from gateway.cli.manners.text import cut, safe, spell_numbers, width
from gateway.errors import BadRequest
from infrastructure.errors import Unavailable


def render(columns: list[Column], *rows: tuple[object, ...], edge: int | None = None, color: bool = False) -> list[str]:
    lines: list[str] = []
    table = Table(columns, lines.append, color=color, edge=edge, header=True)
    for row in rows:
        table.add(*row)
    table.flush()
    return lines


def test_a_table_is_aligned_as_in_the_interface() -> None:
    columns = [Column("GROUP"), Column("STATE"), Column("LAG", "right"), Column("WHY")]
    assert render(columns, ("charge-cards", "running", "12", "-"), ("mailer", "paused", "41,207", "breaker open")) == [
        "GROUP         STATE       LAG  WHY",
        "charge-cards  running      12  -",
        "mailer        paused   41,207  breaker open",
    ]


def test_an_empty_table_prints_nothing() -> None:
    assert render([Column("A")]) == []


def test_wide_letters_take_two_columns() -> None:
    assert render([Column("NAME"), Column("N", "right")], ("日本", 1), ("ab", 22)) == [
        "NAME   N",
        "日本   1",
        "ab    22",
    ]


def test_the_last_column_ends_at_the_edge_of_the_terminal() -> None:
    lines = render([Column("A"), Column("DATA")], ("x", "y" * 50), edge=20)
    assert lines[1] == "x  " + "y" * 16 + "…"
    assert all(width(line) <= 20 for line in lines)


def test_a_column_gives_way_to_the_others_on_a_narrow_terminal() -> None:
    lines: list[str] = []
    columns = [Column("STREAM", gives_way=True), Column("VERSION", "right"), Column("LAST EVENT")]
    table = Table(columns, lines.append, color=False, edge=40, header=True, cut=False)
    table.add("order-42", 7, "16m ago")
    table.add("document-" + "x" * 30, 8, "16m ago")
    table.flush()
    assert lines == [
        "STREAM               VERSION  LAST EVENT",
        "order-42                   7  16m ago",
        "document-" + "x" * 30 + "        8  16m ago",
    ]


def test_a_column_whose_cells_are_mostly_long_does_not_give_way() -> None:
    columns = [Column("STREAM", gives_way=True), Column("VERSION", "right")]
    lines: list[str] = []
    table = Table(columns, lines.append, color=False, edge=20, header=True, cut=False)
    for name in ("document-of-ada", "document-of-bob", "order"):
        table.add(name, 7)
    table.flush()
    assert [line.index("7") for line in lines[1:]] == [23, 23, 23]


def test_a_narrow_terminal_has_short_titles_and_what_has_no_room_below_its_row() -> None:
    columns = [Column("GROUP"), Column("OLDEST PARKED", "right", short="OLDEST"), Column("WHY", below=True)]
    rows = (("charge-cards", "2h 14m", "-"), ("mailer", "-", "breaker open since the mail server is down"))
    assert render(columns, *rows, edge=80)[0] == "GROUP         OLDEST PARKED  WHY"
    assert render(columns, *rows, edge=52) == [
        "GROUP         OLDEST  WHY",
        "charge-cards  2h 14m  -",
        "mailer             -  breaker open since the mail s…",
    ]
    assert render(columns, *rows, edge=40) == [
        "GROUP         OLDEST",
        "charge-cards  2h 14m",
        "mailer             -",
        "    breaker open since the mail server…",
    ]


@pytest.mark.parametrize(
    ("numbers", "text"), [((), ""), ((3,), "3"), ((7, 0, 1, 2, 10, 9), "0-2,7,9-10"), (tuple(range(16)), "0-15")]
)
def test_numbers_are_spelled_by_runs(numbers: tuple[int, ...], text: str) -> None:
    assert spell_numbers(numbers) == text


def test_rows_after_the_first_screens_are_written_at_once() -> None:
    lines: list[str] = []
    table = Table([Column("N", "right")], lines.append, color=False, edge=None, header=True)
    for number in range(300):
        table.add(number)
    assert len(lines) == 301


def test_colour_goes_with_a_word_and_never_changes_the_text() -> None:
    plain = render([Column("STATE"), Column("X")], ("FAIL", "a"), ("ok", "b"))
    coloured = render([Column("STATE"), Column("X")], ("FAIL", "a"), ("ok", "b"), color=True)
    assert coloured[1] == "\x1b[31mFAIL\x1b[0m   a"
    assert [line.split("m", 1)[1].replace("\x1b[0m", "") for line in coloured] == plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u202eb", "a\\u202eb"),
        ("\u2028", "\\u2028"),
        ("naïve ☕ 日本", "naïve ☕ 日本"),
    ],
)
def test_data_cannot_steer_the_terminal(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_cut_never_splits_a_wide_letter() -> None:
    assert width(cut("日本日本", 4)) <= 4


def test_shared_flags_work_before_the_command_too() -> None:
    assert behind_command(["--json", "read", "s"]) == ["read", "s", "--json"]
    assert behind_command(["--url", "redis://h", "-q", "read", "s"]) == ["read", "s", "--url", "redis://h", "-q"]
    assert behind_command(["--time=raw", "read", "--", "--json"]) == ["read", "--time=raw", "--", "--json"]
    assert behind_command(["--json", "jobs", "show", "7", "-q"]) == ["jobs", "show", "7", "--json", "-q"]
    assert behind_command(["read", "--json"]) == ["read", "--json"]
    assert behind_command(["--url"]) == ["--url"]
    assert behind_command(["--expected", "3", "publish"]) == ["--expected", "3", "publish"]


def test_an_error_has_the_form_of_the_interface(capsys: pytest.CaptureFixture[str]) -> None:
    error = WrongExpectedVersion("order-42", 2, 3)
    assert print_error(error, frozenset({"--expected"}), json=False, verbose=False, color=False) == 3
    assert capsys.readouterr().err == (
        "error: wrong-expected-version: order-42 is at version 3, expected 2\n"
        "  field: --expected\n"
        "  hint:  eventstore read order-42 --from 3, then decide again\n"
    )


def test_an_error_in_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    error = Unavailable("no server:\nits log", reason="unreachable", remedy="start it")
    assert print_error(error, frozenset(), json=True, verbose=False, color=False) == 5
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert '"code":"redis-unavailable"' in line


def test_a_field_that_the_command_does_not_have_keeps_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(BadRequest("x", field="expected"), frozenset({"--from"}), json=False, verbose=False, color=False)
    assert "field: expected\n" in capsys.readouterr().err


def test_a_traceback_comes_with_verbose_only(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        _ = 1 / 0
    except ZeroDivisionError as error:
        print_error(error, frozenset(), json=False, verbose=False, color=False)
        assert "Traceback" not in capsys.readouterr().err
        print_error(error, frozenset(), json=False, verbose=True, color=False)
        assert "Traceback" in capsys.readouterr().err


def test_headers_are_pairs_each_given_once() -> None:
    assert parse_headers(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    assert parse_headers(None) == {}
    for wrong in (["a"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(BadRequest):
            parse_headers(wrong)


def test_colour_is_for_terminals_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert wants_color("auto", on_terminal=True)
    assert not wants_color("auto", on_terminal=False)
    assert wants_color("always", on_terminal=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_color("auto", on_terminal=True)
    assert wants_color("always", on_terminal=True)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_progress_is_a_line_each_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = Progress("importing", enabled=True, clock=clock)
    for second in range(25):
        clock.now = float(second)
        progress.show(second * 100, 5_000)
    assert capsys.readouterr().err == (
        "importing  1,000/5,000  20%  100/s  ETA 40s\nimporting  2,000/5,000  40%  100/s  ETA 30s\n"
    )


def test_on_a_terminal_progress_is_a_bar_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    clock = Clock()
    progress = Progress("importing", enabled=True, clock=clock)
    progress.show(0, 100)
    clock.now = 0.9
    progress.show(10, 100)
    assert terminal.getvalue() == ""
    clock.now = 2.0
    progress.show(50, 100)
    assert terminal.getvalue() == "\r\x1b[Kimporting  [############............]  50/100  50%  25/s  ETA 2.0s"
    progress.clear()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_quiet_progress_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = Progress("importing", enabled=False, clock=clock)
    clock.now = 100.0
    progress.show(1, 2)
    assert capsys.readouterr().err == ""


def test_what_an_earlier_run_did_is_no_part_of_the_rate(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = Progress("importing", enabled=True, clock=clock)
    progress.show(1_000, 2_000)
    clock.now = 10.0
    progress.show(1_100, 2_000)
    assert "10/s" in capsys.readouterr().err
