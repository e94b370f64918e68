"""What a sink must do, as checks to run on one of your own: without pytest, each on a sink that has nothing yet.

    @pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
    def test_my_sink(check):
        check(MyUnderTest())

`UnderTest` says how to make the sink, what a change of yours looks like, and what is read. A check that fails raises
AssertionError, which says what was expected.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Protocol, TypeVar

from consumers.state import Effect, Row, RowState
from projections.checkpoint import BadChange, Checkpoint, Part, Refused, Step
from projections.generations import Generation
from projections.sinks.protocol import Sink

NAME = "contract"
E = TypeVar("E", bound=Exception)


class UnderTest(Protocol):
    """Of one empty sink."""

    def open(self) -> Sink:
        """Another one of the same data, as another process has it."""

    def added(self, name: str, amount: int) -> Effect:
        """The change that adds to what is counted under a name, beginning at zero."""

    def refused(self) -> Effect:
        """A change that the sink cannot carry out, whatever it has."""

    def counts(self, sink: Sink, generation: int) -> Mapping[str, int]:
        """What a generation has counted, those that are not zero."""

    def read(self, sink: Sink) -> Mapping[str, int]:
        """What a reader sees: the generation that is live."""

    def generation(self, version: int = 1) -> Generation:
        """One to begin."""


Check = Callable[[UnderTest], None]


def a_first_claim_begins_at_nothing(tested: UnderTest) -> None:
    sink, part = _begun(tested)
    _same(sink.claim(part, 3), Checkpoint(3, 0))


def a_claim_gives_what_was_applied(tested: UnderTest) -> None:
    sink, part = _claimed(tested)
    rows = {"order-1": Row(2, RowState.PARKED, 8, 0, 1, "1-7"), "order-2": Row(1)}
    sink.apply(part, Step(1, 1, (4, 10), "chain", rows), [tested.added("a", 1)])
    _same(tested.open().claim(part, 2), Checkpoint(2, 0, (4, 10), "chain", rows))


def a_claim_is_refused_unless_its_term_is_higher(tested: UnderTest) -> None:
    sink, part = _begun(tested)
    sink.claim(part, 5)
    for term in (5, 4, 1):
        error = _raised(Refused, partial(tested.open().claim, part, term))
        _same(error.term, 5, "a refusal names the term that is stored")
    _same(sink.claim(part, 6).term, 6)


def of_two_first_claims_at_once_the_higher_one_stands(tested: UnderTest) -> None:
    sink, part = _begun(tested)
    sinks = [tested.open() for _ in range(4)]
    threads = [Thread(target=_try_claim, args=(each, part, term)) for term, each in enumerate(sinks, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with suppress(Refused):  # the highest may have met the first of them, and comes again
        sink.claim(part, 4)
    _same(_checkpoint(sink, part).term, 4)


def a_step_changes_all_or_nothing(tested: UnderTest) -> None:
    sink, part = _claimed(tested)
    sink.apply(part, Step(1, 1, (1, 5), "c", {}), [tested.added("a", 2), tested.added("b", 1), tested.added("a", 1)])
    _same(tested.counts(sink, 1), {"a": 3, "b": 1})
    _same(_checkpoint(sink, part), Checkpoint(1, 1, (1, 5), "c"))
    sink.apply(part, Step(1, 2, (1, 6), "c", {}), [])
    _same((tested.counts(sink, 1), _checkpoint(sink, part).place), ({"a": 3, "b": 1}, (1, 6)))


def a_repeat_changes_nothing_and_succeeds(tested: UnderTest) -> None:
    sink, part = _claimed(tested)
    step = Step(1, 1, (1, 5), "", {"order-1": Row(1)})
    for each in (sink, sink, tested.open()):
        each.apply(part, step, [tested.added("a", 1)])
    _same(tested.counts(sink, 1), {"a": 1})


def a_step_of_a_lower_term_is_refused(tested: UnderTest) -> None:
    sink, part = _claimed(tested)
    other = tested.open()
    other.claim(part, 2)
    error = _raised(Refused, lambda: sink.apply(part, Step(1, 1, (1, 5), "", {"x": Row(1)}), [tested.added("a", 1)]))
    _same(error.term, 2, "a refusal names the term that is stored")
    _same((tested.counts(sink, 1), _checkpoint(sink, part)), ({}, Checkpoint(2, 0)))
    other.apply(part, Step(2, 1, (1, 5), "", {}), [tested.added("a", 1)])
    _same(tested.counts(sink, 1), {"a": 1})


def a_step_out_of_turn_is_refused(tested: UnderTest) -> None:
    sink, part = _claimed(tested)
    for number in (1, 2):
        sink.apply(part, Step(1, number, (1, number), "", {}), [])
    for wrong in (4, 1, 0):
        _raised(Refused, partial(sink.apply, part, Step(1, wrong, (1, 9), "", {}), [tested.added("a", 1)]))
    _same((tested.counts(sink, 1), _checkpoint(sink, part).place), ({}, (1, 2)))


def a_step_of_what_nobody_claimed_is_refused(tested: UnderTest) -> None:
    sink, part = _begun(tested)
    _raised(Refused, lambda: sink.apply(part, Step(1, 1, (1, 1), "", {}), [tested.added("a", 1)]))
    _same(tested.counts(sink, 1), {})


def rows_of_streams_come_change_and_go(tested: UnderTest) -> None:
    sink, part = _claimed(tested)
    sink.apply(part, Step(1, 1, (1, 5), "", {"x": Row(1), "y": Row(2)}), [])
    sink.apply(part, Step(1, 2, (1, 5), "", {"x": Row(3, RowState.RETRYING, 1, 9), "y": None, "z": None}), [])
    _same(_checkpoint(sink, part).detached, {"x": Row(3, RowState.RETRYING, 1, 9)})


def a_bad_change_is_named_and_nothing_written(tested: UnderTest) -> None:
    sink, part = _claimed(tested)
    changes = [tested.added("a", 1), tested.added("b", 1), tested.refused(), tested.added("a", 1)]
    error = _raised(BadChange, lambda: sink.apply(part, Step(1, 1, (1, 5), "", {"x": Row(1)}), changes))
    _same((error.index, bool(error.why)), (2, True), "BadChange names the change, and says why")
    _same((tested.counts(sink, 1), _checkpoint(sink, part)), ({}, Checkpoint(1, 0)))
    sink.apply(part, Step(1, 1, (1, 5), "", {}), [tested.added("a", 1)])
    _same(tested.counts(sink, 1), {"a": 1})


def parts_do_not_touch_each_other(tested: UnderTest) -> None:
    sink, part = _claimed(tested)
    second = _begin_again(tested, sink)
    others = [Part(NAME, 1, 1), Part(NAME, second.number, 0)]
    for term, each in enumerate(others, 7):
        sink.claim(each, term)
        sink.apply(each, Step(term, 1, (1, term), "", {"x": Row(term)}), [tested.added("a", term)])
    _same(_checkpoint(sink, part), Checkpoint(1, 0))
    _same(sorted(sink.checkpoints(NAME, 1)), [0, 1])
    _same(sink.checkpoints(NAME, 1)[1], Checkpoint(7, 1, (1, 7), "", {"x": Row(7)}))
    _same((tested.counts(sink, 1), tested.counts(sink, second.number)), ({"a": 7}, {"a": 8}))


def many_parts_may_change_the_same_rows_at_once(tested: UnderTest) -> None:
    _begun(tested)
    names = [f"n{i}" for i in range(8)]
    threads = [Thread(target=_count, args=(tested, partition, names)) for partition in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink = tested.open()
    _same(tested.counts(sink, 1), dict.fromkeys(names, 4 * 10))
    _same({each.number for each in sink.checkpoints(NAME, 1).values()}, {10})


def nothing_is_known_of_what_was_not_begun(tested: UnderTest) -> None:
    sink = tested.open()
    _same(list(sink.generations(NAME)), [])
    _same(dict(sink.checkpoints(NAME, 1)), {})


def a_generation_of_a_version_is_begun_once(tested: UnderTest) -> None:
    sink = tested.open()
    first = sink.begin(tested.generation())
    sink.prepare(first)
    _same((first.number, first.state, first.version), (1, "building", 1))
    _same(tested.open().begin(tested.generation()).number, 1)
    _same(sink.begin(tested.generation(), again=True).number, 1, "one that is being built is given back")
    sink.switch(NAME, 1)
    _same(sink.begin(tested.generation()).number, 1)
    _same(sink.begin(tested.generation(), again=True).number, 2)
    _same(sink.begin(tested.generation(2)).number, 3)
    found = [(each.number, each.version, each.state) for each in sink.generations(NAME)]
    _same(found, [(1, 1, "live"), (2, 1, "building"), (3, 2, "building")])


def what_is_prepared_may_be_prepared_again(tested: UnderTest) -> None:
    sink, part = _claimed(tested)
    sink.apply(part, Step(1, 1, (1, 1), "", {}), [tested.added("a", 1)])
    for each in (sink, tested.open()):
        each.prepare(each.generations(NAME)[0])
    _same(tested.counts(sink, 1), {"a": 1})


def a_switch_shows_another_generation_and_keeps_the_one_before(tested: UnderTest) -> None:
    sink, part = _claimed(tested)
    sink.apply(part, Step(1, 1, (1, 1), "", {}), [tested.added("a", 1)])
    sink.switch(NAME, 1)
    second = _begin_again(tested, sink)
    other = Part(NAME, second.number, 0)
    sink.claim(other, 1)
    sink.apply(other, Step(1, 1, (1, 1), "", {}), [tested.added("a", 2)])
    _same(tested.read(sink), {"a": 1})
    for number, seen in ((second.number, 2), (1, 1), (second.number, 2)):
        sink.switch(NAME, number)
        states = {each.number: each.state for each in sink.generations(NAME)}
        _same(states.pop(number), "live")
        _same(set(states.values()), {"kept"})
        _same(tested.read(tested.open()), {"a": seen})
    sink.apply(part, Step(1, 2, (1, 2), "", {}), [tested.added("a", 5)])  # which goes on
    _same((tested.read(sink), tested.counts(sink, 1)), ({"a": 2}, {"a": 6}))


def a_switch_to_what_is_not_there_changes_nothing(tested: UnderTest) -> None:
    sink, part = _claimed(tested)
    sink.apply(part, Step(1, 1, (1, 1), "", {}), [tested.added("a", 1)])
    second = _begin_again(tested, sink)
    sink.drop(NAME, second.number)
    for number in (second.number, 9):
        sink.switch(NAME, number)
        _same([(each.number, each.state) for each in sink.generations(NAME)], [(1, "live")])
        _same(tested.read(sink), {"a": 1})


def what_is_marked_stays_marked(tested: UnderTest) -> None:
    sink, _ = _claimed(tested)
    _begin_again(tested, sink)
    sink.mark_diverged(NAME, 1)
    _same([each.diverged for each in tested.open().generations(NAME)], [True, False])


def a_dropped_generation_leaves_nothing(tested: UnderTest) -> None:
    sink, part = _claimed(tested)
    sink.apply(part, Step(1, 1, (1, 1), "", {"x": Row(1)}), [tested.added("a", 1)])
    sink.switch(NAME, 1)
    second = _begin_again(tested, sink)
    sink.switch(NAME, second.number)
    for _ in range(2):  # once more changes nothing
        sink.drop(NAME, 1)
    _same([each.number for each in sink.generations(NAME)], [second.number])
    _same(dict(sink.checkpoints(NAME, 1)), {})
    _same(tested.read(sink), {})
    _raised(Refused, lambda: sink.apply(part, Step(1, 2, (1, 2), "", {}), []))
    _raised(Refused, lambda: sink.claim(part, 9))
    _same(dict(sink.checkpoints(NAME, 1)), {})
    third = _begin_again(tested, sink)
    sink.drop(NAME, third.number)  # while it is being built
    _same(
        tested.open().begin(tested.generation(), again=True).number > third.number,
        True,
        "a number is never given twice",
    )


CONTRACT: tuple[Check, ...] = (
    a_first_claim_begins_at_nothing,
    a_claim_gives_what_was_applied,
    a_claim_is_refused_unless_its_term_is_higher,
    of_two_first_claims_at_once_the_higher_one_stands,
    a_step_changes_all_or_nothing,
    a_repeat_changes_nothing_and_succeeds,
    a_step_of_a_lower_term_is_refused,
    a_step_out_of_turn_is_refused,
    a_step_of_what_nobody_claimed_is_refused,
    rows_of_streams_come_change_and_go,
    a_bad_change_is_named_and_nothing_written,
    parts_do_not_touch_each_other,
    many_parts_may_change_the_same_rows_at_once,
    nothing_is_known_of_what_was_not_begun,
    a_generation_of_a_version_is_begun_once,
    what_is_prepared_may_be_prepared_again,
    a_switch_shows_another_generation_and_keeps_the_one_before,
    a_switch_to_what_is_not_there_changes_nothing,
    what_is_marked_stays_marked,
    a_dropped_generation_leaves_nothing,
)


def _same(found: object, wanted: object, what: str = "") -> None:
    """An assertion that stands in optimized runs too."""
    if found != wanted:
        raise AssertionError(f"{what}\n  expected  {wanted!r}\n  found     {found!r}".lstrip())


def _begun(tested: UnderTest) -> tuple[Sink, Part]:
    sink = tested.open()
    sink.prepare(sink.begin(tested.generation()))
    return sink, Part(NAME, 1, 0)


def _claimed(tested: UnderTest) -> tuple[Sink, Part]:
    sink, part = _begun(tested)
    sink.claim(part, 1)
    return sink, part


def _begin_again(tested: UnderTest, sink: Sink) -> Generation:
    if not any(each.state == "live" for each in sink.generations(NAME)):
        sink.switch(NAME, 1)
    begun = sink.begin(tested.generation(), again=True)
    sink.prepare(begun)
    return begun


def _checkpoint(sink: Sink, part: Part) -> Checkpoint:
    return sink.checkpoints(part.projection, part.generation)[part.partition]


def _raised(kind: type[E], call: Callable[[], object]) -> E:
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was expected")


def _try_claim(sink: Sink, part: Part, term: int) -> None:
    with suppress(Refused):
        sink.claim(part, term)


def _count(tested: UnderTest, partition: int, names: list[str]) -> None:
    sink, part = tested.open(), Part(NAME, 1, partition)
    sink.claim(part, 1)
    ordered = names if partition % 2 else names[::-1]
    for number in range(1, 11):
        sink.apply(part, Step(1, number, (1, number), "", {}), [tested.added(name, 1) for name in ordered])
