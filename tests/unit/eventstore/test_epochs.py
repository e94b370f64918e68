"""The chain of epochs, and how far two histories agree."""

import pytest

from eventstore import epochs
from eventstore.epochs import EpochStart, LostEvents, Observer, common_position, common_position_of, parse
from eventstore.errors import LogDamaged

OLD = parse("100:1")
GREW = parse("100:1,200:41")
FORKED = parse("100:1,300:51")


def test_the_chain_is_read_as_the_log_keeps_it() -> None:
    assert parse(b"100:1,200:41") == (EpochStart(100, 1), EpochStart(200, 41))
    assert parse("") == ()


@pytest.mark.parametrize(
    "text", ["100", "100:1,200", "a:1", "100:2", "100:1,200:1", "100:1,,200:5", "100:1,200:9,300:5"]
)
def test_a_damaged_chain_is_named(text: str) -> None:
    with pytest.raises(LogDamaged):
        parse(text)


@pytest.mark.parametrize(
    ("mine", "theirs", "position", "head", "common"),
    [
        (OLD, OLD, 30, 40, 30),  # nothing happened
        (OLD, OLD, 40, 30, 30),  # the end is gone, nothing came after it
        (OLD, GREW, 40, 45, 40),  # restarted, nothing lost
        (OLD, GREW, 45, 60, 40),  # 41..45 were another 41..45
        (GREW, FORKED, 57, 60, 40),  # both went on for themselves: the page in epochs.py
        (FORKED, GREW, 57, 60, 40),
        (GREW, OLD, 57, 60, 40),  # an epoch lost whole
        (parse("100:1"), parse("90:1"), 5, 9, 0),  # nothing in common
        (OLD, (), 5, 0, 0),  # emptied
        ((), OLD, 0, 9, 0),  # had nothing yet
    ],
)
def test_the_common_position_of_two_histories(mine, theirs, position, head, common) -> None:  # type: ignore[no-untyped-def]
    assert common_position(mine, theirs, position, head) == common


@pytest.mark.parametrize(
    ("place", "theirs", "head", "common"),
    [
        ((100, 30), GREW, 60, 30),
        ((100, 45), GREW, 60, 40),  # beyond the end of its epoch
        ((200, 60), GREW, 50, 50),  # beyond the head
        ((150, 42), GREW, 60, 0),  # an epoch that the log does not know: nothing is surely common
        ((200, 40), GREW, 60, 40),  # as `Cursor.before` makes it of the first event of an epoch
        ((0, 0), GREW, 60, 0),
    ],
)
def test_the_common_position_of_a_cursor_without_a_chain(place, theirs, head, common) -> None:  # type: ignore[no-untyped-def]
    assert common_position_of(place, theirs, head) == common


def test_the_epoch_of_a_position_and_the_chain_up_to_it() -> None:
    assert [epochs.epoch_at(GREW, p) for p in (0, 1, 40, 41, 99)] == [0, 100, 100, 200, 200]
    assert epochs.cut(GREW, 40) == OLD


def test_an_observer_that_only_saw_a_later_epoch_begin_has_not_read_it() -> None:
    observer = Observer()
    observer.move(b"100:1,200:41", 40)
    assert observer.common(b"100:1,300:41", 44) == 40


def test_a_repeated_report_has_the_same_id() -> None:
    lost = LostEvents("totals", 3, 100, 41, 57)
    assert lost.id == LostEvents("totals", 3, 100, 41, 57).id
    assert lost.id != LostEvents("other", 3, 100, 41, 57).id
