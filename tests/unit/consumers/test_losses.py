"""Partitions that a member has lost: what its log tells of them."""

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from consumers.losses import DEATHS, Losses, taken_by
from consumers.scope import Scope
from consumers.state import Stored, Token
from tests.support.failures import Ticks

REPLAYED = Scope("job-1")
STORED = Stored(1, 1, (1, 70), 70, False, "", {}, (), 1, 100, b"", None)


@pytest.fixture
def losses() -> Losses:
    made = Losses("g", Ticks())
    for partition in range(3):
        made.taken(partition, None, STORED)
    return made


def test_what_was_lost_together_is_one_line(losses: Losses) -> None:
    with capture_logs() as logs:
        for partition in (2, 0, 1):
            losses.lost(partition, taken_by(Token("bob-42-abcdef", 1_700 + partition, 1)))
        losses.tell()
        losses.tell()
    assert [(each["partitions"], each["why"]) for each in logs] == [([0, 1, 2], "bob-42-abcdef has it now")]


def test_what_a_replay_has_moved_is_one_line_however_it_was_noticed(losses: Losses) -> None:
    with capture_logs() as logs:
        losses.lost(0, taken_by(Token("", 7, 1)))
        losses.taken(0, REPLAYED, STORED)
        losses.lost(1, taken_by(Token("replay-0a1b2c3d", 7, 1)))
        losses.taken(1, REPLAYED, STORED)
        losses.tell()
    assert [(each["log_level"], each["event"], each["why"]) for each in logs] == [
        ("info", "partitions_moved", "taken by replay job-1")
    ]


def test_what_nobody_has_though_no_replay_has_moved_it_is_a_loss(losses: Losses) -> None:
    with capture_logs() as logs:
        losses.lost(0, taken_by(Token("", 7, 1)))
        losses.taken(0, None, STORED)
        losses.tell()
    assert [each["event"] for each in logs] == ["partitions_lost"]


def test_a_host_called_replay_is_no_command(losses: Losses) -> None:
    with capture_logs() as logs:
        losses.lost(0, taken_by(Token("replay-4242-abcdef", 7, 1)))
        losses.tell()
    assert [each["event"] for each in logs] == ["partitions_lost"]


def test_workers_that_died_one_after_the_other_are_told_of_with_the_places_behind_which_it_was(losses: Losses) -> None:
    with capture_logs() as logs:
        losses.taken(2, None, replace(STORED, lapsed=DEATHS - 1))
        losses.tell()
        assert logs == []
        losses.taken(1, None, replace(STORED, lapsed=DEATHS + 1))
        losses.taken(0, None, replace(STORED, lapsed=DEATHS, offset=(1, 7)))
        losses.tell()
        losses.tell()
    assert [(each["event"], each["in_a_row"], each["behind"]) for each in logs] == [
        ("workers_die", DEATHS + 1, ["0:7", "1:70"])
    ]


def test_a_partition_whose_master_is_away_is_told_of_once_until_it_is_taken(losses: Losses) -> None:
    with capture_logs() as logs:
        for partition in (0, 0, 1, 0):
            losses.not_taken(partition, "nothing listens there")
        losses.taken(0, None, STORED)
        losses.not_taken(0, "nothing listens there")
    assert [(each["event"], each["partition"]) for each in logs] == [
        ("not_taken", 0),
        ("not_taken", 1),
        ("not_taken", 0),
    ]
