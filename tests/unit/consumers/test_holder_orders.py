"""Orders in the memory of a holder: each is carried out once, and none that was taken back."""

from consumers.holder import Holder
from consumers.state import Committed, Order, RowState, Stored, Token
from tests.support.orders import OrderPlaced, recorded

RETRY = Order("a", "retry", "order-1", 1)


def parked() -> Holder:
    """Of a partition with one event, which is parked."""
    stored = Stored(1, 1, (0, 0), 0, False, "", {}, (), 0, 1, b"", None)
    holder = Holder(stored, Token("ada", 1, 1))
    holder.feed([recorded(OrderPlaced())], 1)
    fail(holder)
    commit(holder)
    return holder


def fail(holder: Holder) -> None:
    event = holder.take(lambda: 1)
    if event is None:
        (wanted,) = holder.wanting(1)
        assert wanted == ("order-1", 1)
        holder.read("order-1", [recorded(OrderPlaced())], 1)
        event = holder.take(lambda: 1)
    assert event is not None
    holder.failed(event, 1, None, b"")


def commit(holder: Holder) -> None:
    call = holder.prepare()
    assert call is not None
    holder.committed(Committed(frozenset(), (), 1, "", 1, 1, None))


def test_an_order_that_a_slow_look_tells_of_once_more_is_not_carried_out_twice() -> None:
    holder = parked()
    holder.learn([RETRY])
    assert holder.obey() == [RETRY]
    fail(holder)
    commit(holder)
    holder.learn([RETRY])  # the look was sent before the commit, and its answer came after that of the commit
    assert holder.obey() == []
    assert holder.rows["order-1"].state is RowState.PARKED


def test_an_order_that_was_taken_back_before_it_could_be_carried_out_is_forgotten() -> None:
    holder = parked()
    holder.learn([RETRY])
    holder.obey()
    event = holder.take(lambda: 1)
    if event is None:
        holder.wanting(1)
        holder.read("order-1", [recorded(OrderPlaced())], 1)
        event = holder.take(lambda: 1)
    assert event is not None
    discard = Order("b", "discard", "order-1", 1)
    commit(holder)
    holder.learn([discard])
    assert holder.obey() == [], "it waits until the handler has ended"
    holder.learn([])
    holder.failed(event, 1, None, b"")
    assert holder.obey() == []
    assert holder.rows["order-1"].next == 1
