"""Lanes of detached streams: how much of them is kept in memory."""

from consumers.deliveries import Delivery
from consumers.detached import KEPT_BYTES, KEPT_EVENTS, Detached
from consumers.state import Row
from tests.support.orders import OrderPlaced, recorded

LANES, IN_ALL = 60, 640
PAGE_BYTES = 512 << 10


def events(stream: str, first: int, number: int) -> list[Delivery]:
    """Of a stream that has 100 of them."""
    begins_at = 100 * int(stream.partition("-")[2])
    versions = range(first, min(first + number, 101))
    return [recorded(OrderPlaced(), stream, version, position=begins_at + version) for version in versions]


def read(lanes: Detached, size: int = 0) -> int:
    """What a reader reads while lanes want events: how many of them there are then at the most."""
    most = 0
    while wanting := lanes.wanting(16):
        for stream, version in wanting:
            found = events(stream, version, max(1, PAGE_BYTES // size) if size else KEPT_EVENTS)
            lanes.read(stream, found, 100, {event.position: size for event in found})
        most = max(most, lanes.kept)
    return most


def drained(lanes: Detached, size: int = 0) -> tuple[int, int]:
    """How many events were handled when every lane has come to its end, and how many were in memory at once."""
    handled, most = 0, 0
    while True:
        event = lanes.take(0)
        most = max(most, read(lanes, size))
        if event is not None:
            handled += 1
            lanes.advance(event)
        elif not lanes.wants_events and (event := lanes.take(0)) is None:
            return handled, most
        elif event is not None:
            handled += 1
            lanes.advance(event)


def test_what_all_lanes_keep_is_bounded_and_each_goes_on_to_its_end() -> None:
    lanes = Detached({f"order-{i}": Row(1) for i in range(LANES)}, IN_ALL)
    handled, most = drained(lanes)
    assert handled == LANES * 100
    assert IN_ALL // 2 < most <= IN_ALL + 16
    assert lanes.kept == 0


def test_large_events_are_bounded_by_what_they_weigh() -> None:
    lanes = Detached({f"order-{i}": Row(1) for i in range(40)})
    handled, most = drained(lanes, 1 << 20)
    assert handled == 40 * 100
    assert most <= (KEPT_BYTES >> 20) + 16
    assert (lanes.kept, lanes.weights.bytes) == (0, 0)


def test_a_lane_gets_an_event_however_full_memory_is_if_no_other_may_run() -> None:
    lanes = Detached({"order-2": Row(1)}, 1)
    window = [(event, 0) for event in events("order-1", 1, 100)]
    lanes.detach("order-1", Row(1), window, running=True, has_gaps=False)
    assert lanes.take(0) is None, "it has not been read yet"
    assert read(lanes) == 2
    event = lanes.take(0)
    assert event is not None
    assert (event.stream, event.version) == ("order-2", 1)


def test_a_stream_that_leaves_the_main_pass_takes_few_events_along() -> None:
    lanes = Detached({})
    window = events("order-1", 1, 100)
    lanes.detach("order-1", Row(1), [(event, 0) for event in window], running=True, has_gaps=False)
    assert lanes.kept == KEPT_EVENTS
    lanes.advance(window[0])
    assert lanes.lanes["order-1"].end == KEPT_EVENTS + 1
