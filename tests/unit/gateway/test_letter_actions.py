"""How letters are named on the command line, and how a plan says what would run it."""

import shlex

import pytest

from gateway.cli.manners.letter_actions import _command, named, refuse_selection
from gateway.cli.manners.which_letters import SelectedLetters
from gateway.errors import BadRequest


@pytest.mark.parametrize(
    ("group", "streams", "expected"),
    [
        ("mailer", ["order-1"], ("mailer", ["order-1"])),
        ("mailer/order-1", [], ("mailer", ["order-1"])),
        ("mailer/order-1", ["order-2"], ("mailer", ["order-1", "order-2"])),
        ("mailer/a/b", [], ("mailer", ["a/b"])),
        ("mailer", ["a/b"], ("mailer", ["a/b"])),
    ],
)
def test_a_letter_is_named_by_two_words_or_one(group: str, streams: list[str], expected: tuple[str, list[str]]) -> None:
    assert named(group, streams) == expected


@pytest.mark.parametrize(
    ("group", "streams"), [(None, []), ("mailer", []), ("mailer/", []), ("/order-1", []), ("", ["s"])]
)
def test_half_a_name_is_refused(group: str | None, streams: list[str]) -> None:
    with pytest.raises(BadRequest):
        named(group, streams)


def test_the_command_that_runs_a_plan_can_be_pasted() -> None:
    which = SelectedLetters(error="Weird Error", prefix="it's-", rate=0.5, limit=10, every=True)
    words = shlex.split(_command("discard", "mailer", which, 'they said "no"'))
    assert words == [
        *("eventstore", "dlq", "discard", "mailer"),
        *("--error", "Weird Error", "--prefix", "it's-", "--limit", "10", "--rate", "0.5", "--all"),
        *("--reason", 'they said "no"'),
    ]


@pytest.mark.parametrize(
    ("which", "flag"),
    [
        (SelectedLetters(every=True), "--all"),
        (SelectedLetters(execute=True), "--execute"),
        (SelectedLetters(dry_run=True), "--dry-run"),
        (SelectedLetters(rate=20.0), "--rate"),
        (SelectedLetters(older_than="2h"), "--older-than"),
    ],
)
def test_a_flag_that_chooses_is_refused_with_letters_that_are_named(which: SelectedLetters, flag: str) -> None:
    with pytest.raises(BadRequest) as refused:
        refuse_selection(which)
    assert refused.value.field == flag
