"""What may come by plain XRANGE: positions of one epoch that were seen, as many as are sure to fit."""

from hypothesis import given
from hypothesis import strategies as st

from eventstore.epochs import Chain, EpochStart, epoch_at
from eventstore.spans import NO_BOUND, WORTH_A_CALL, WORTH_A_CUT, Bound, Span, span_of


@st.composite
def chains(draw: st.DrawFn) -> tuple[Chain, int]:
    """With the head: the last epoch has an event, as all have."""
    lengths = draw(st.lists(st.integers(1, 600) | st.integers(1, 3), min_size=1, max_size=6))
    firsts = [1 + sum(lengths[:i]) for i in range(len(lengths))]
    return tuple(EpochStart(10 * (i + 1), first) for i, first in enumerate(firsts)), sum(lengths)


@given(
    chains(),
    st.integers(1, 4_000),
    st.integers(0, 4_000),
    st.booleans(),
    st.integers(1, 1_500),
    st.integers(1, 40_000),
    st.integers(0, 200),
)
def test_a_span_is_of_one_epoch_and_has_both_bounds(
    seen: tuple[Chain, int], first: int, last: int, backwards: bool, events: int, size: int, largest: int
) -> None:
    chain, head = seen
    span = span_of(chain, Bound(head, largest), first, last, backwards=backwards, events=events, size=size)
    if span is None:
        return
    low, high = sorted((span.first, span.last))
    assert 1 <= low <= high <= head
    assert {epoch_at(chain, position) for position in (low, high)} == {span.epoch}
    assert span.count <= events
    assert span.count * largest <= size
    assert span.first == first
    assert (low >= last) if backwards else (high <= (last or head))
    assert span.by == (-1 if backwards else 1)
    # as long as may be: the next position is of another epoch, not wanted, or beyond a bound
    following = span.last + span.by
    limit = (last or 1) if backwards else min(last or head, head)
    assert (
        span.count == events
        or (span.count + 1) * largest > size
        or span.last == limit
        or epoch_at(chain, following) != span.epoch
    )


def test_one_that_is_cut_short_must_be_worth_it() -> None:
    chain: Chain = (EpochStart(7, 1), EpochStart(8, 201))

    def count(first: int, last: int = 0, size: int = 1 << 20, events: int = 1_000, *, backwards: bool = False) -> int:
        span = span_of(chain, Bound(5_000, 100), first, last, backwards=backwards, events=events, size=size)
        return 0 if span is None else span.count

    assert count(1) == 200
    assert count(1, size=100 * WORTH_A_CUT) == WORTH_A_CUT
    assert count(1, size=100 * WORTH_A_CUT - 1) == 0
    assert count(200 - WORTH_A_CUT + 2) == 0  # the rest of its epoch
    assert count(200 - WORTH_A_CUT + 2, 200) == WORTH_A_CUT - 1  # all that is wanted
    assert count(1, events=WORTH_A_CALL) == WORTH_A_CALL
    assert count(1, events=WORTH_A_CALL - 1) == 0
    assert count(5_001 - WORTH_A_CALL) == WORTH_A_CALL
    assert count(5_002 - WORTH_A_CALL) == 0
    assert count(300, backwards=True) == 0  # 100 of its epoch
    assert count(1_300, backwards=True) == 1_000


def test_nothing_is_bounded_for_one_who_knows_no_bound() -> None:
    chain: Chain = (EpochStart(7, 1),)
    for backwards in (False, True):
        assert span_of(chain, NO_BOUND, 500, 0, backwards=backwards, events=400, size=1 << 20) is None
        assert span_of((), Bound(0, 0), 1, 0, backwards=backwards, events=400, size=1 << 20) is None
        assert span_of(chain, Bound(499, 9), 500, 0, backwards=backwards, events=400, size=1 << 20) is None


def test_a_span_as_a_command() -> None:
    assert Span(7, 3, 9).command("log") == ("XRANGE", "log", "7-3", "7-9")
    assert Span(7, 9, 3).command("log") == ("XREVRANGE", "log", "7-9", "7-3")
