"""append.lua against a small model, on real servers: every verdict, and after every step all that is stored.

The model is told the time. What the script's clock said is not known, only that it lies between two readings of the
server's clock; so there must be a moment between them at which the model answers and stores just what the script did.
"""

import os
from collections.abc import Iterator
from hashlib import md5
from typing import Any
from uuid import UUID

import pytest
import redis
from anyio.from_thread import start_blocking_portal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule, run_state_machine_as_test
from msgspec.structs import replace

from infrastructure.server_program import find_program
from tests.property.log_model import HOUR_US, TAG_DIGITS, LogModel, SentAppend, SentEvent, SentPart, Verdict
from tests.property.real_partition import WRONG_TYPES, RealPartition, expected_state
from tests.support.servers import Server, redis_server

EXAMPLES = 2_000 if os.environ.get("EVENTSTORE_SOAK") else 80
WINDOW_US = 8_000_000
STREAMS = ["order-1", "order-2", "läger-é", "x}:i:order-1", "{tag}-y", "$audit", "s" * 512]
DATA = [b"{}", b'{"n":1}', b'{"n":2}', b'"' + b"x" * 300 + b'"', b"\xff\x00 raw"]

letters = st.sampled_from(".NHC")
known_ids = st.integers(1, 30).map(lambda n: UUID(bytes=md5(b"%d" % n).digest()))  # few, so that they meet again
events = st.builds(
    SentEvent,
    id=known_ids,
    data=st.sampled_from(DATA),
    letter=letters,
    type=st.sampled_from(["T", "U"]),
    schema_version=st.integers(1, 2),
)
batches = st.lists(events, min_size=1, max_size=4, unique_by=lambda e: e.id).map(tuple)
causes = st.one_of(
    st.just(("none", 0)),
    st.tuples(st.just("last"), st.integers(-2, 2)),
    st.tuples(st.just("now"), st.sampled_from([-HOUR_US, 0, HOUR_US // 2, 2 * HOUR_US])),
)
# A number is meant relative to the version that the stream has.
expectations = st.one_of(st.sampled_from(["any", "exists"]), st.integers(-3, 1))
ages = st.sampled_from([0, WINDOW_US, WINDOW_US * 9 // 8, WINDOW_US * 5 // 4 - 1, WINDOW_US * 5 // 4, 2 * WINDOW_US])
drafts = st.tuples(st.sampled_from(STREAMS), expectations, st.booleans(), causes, batches)


class LogMachine(RuleBasedStateMachine):
    """Drives a real partition and the model side by side."""

    client: Any
    sent = Bundle("sent")

    @initialize()
    def open(self) -> None:
        self.real = RealPartition(self.client, WINDOW_US)
        self.model = LogModel(WINDOW_US)
        self.made_ids = 0

    @rule(target=sent, drafts=st.lists(drafts, min_size=1, max_size=4))
    def append(self, drafts: list[Any]) -> Any:
        appends = [self._append(*draft) for draft in drafts]
        self._call(appends)
        return multiple(*appends)

    @rule(
        target=sent, drafts=st.lists(drafts, min_size=2, max_size=4, unique_by=lambda draft: draft[0]), data=st.data()
    )
    def append_to_several_streams(self, drafts: list[Any], data: st.DataObject) -> SentAppend:
        """All or none; the last ones may be mere checks."""
        append, *others = (self._append(*draft) for draft in drafts)
        seen = {event.id for event in append.events}
        parts = []
        for other in others:
            fresh = tuple(event for event in other.events if event.id not in seen)
            seen |= {event.id for event in fresh}
            parts.append(SentPart(other.stream, other.expected, fresh if data.draw(st.booleans()) else ()))
        several = replace(append, others=tuple(sorted(parts, key=lambda part: not part.events)))
        self._call([several])
        return several

    @rule(append=sent)
    def repeat_a_part_alone(self, append: SentAppend) -> None:
        """What was written together is known apart as well; what was written alone is no part of another append."""
        alone = [
            replace(append, stream=p.stream, expected=p.expected, events=p.events, others=()) for p in append.parts
        ]
        self._call([part for part in alone if part.events])

    @rule(append=sent, other=sent)
    def join_what_was_sent_apart(self, append: SentAppend, other: SentAppend) -> None:
        taken = {event.id for part in append.parts for event in part.events}
        streams = {part.stream for part in append.parts}
        events = tuple(event for event in other.events if event.id not in taken)
        if other.stream not in streams:
            self._call([replace(append, others=(SentPart(other.stream, other.expected, events), *append.others))])

    @rule(appends=st.lists(sent, min_size=1, max_size=3))
    def repeat_what_was_sent(self, appends: list[SentAppend]) -> None:
        """Answers were lost, and other callers' repeats share the call."""
        self._call(appends)

    @rule(target=sent, append=sent, expected=expectations)
    def repeat_with_another_expectation(self, append: SentAppend, expected: int | str) -> SentAppend:
        changed = replace(append, expected=self._expected(append.stream, expected))
        self._call([changed])
        return changed

    @rule(append=sent, other=sent, cut=st.integers(0, 3), stream=st.sampled_from(STREAMS))
    def mix_what_was_sent(self, append: SentAppend, other: SentAppend, cut: int, stream: str) -> None:
        """Half of a known batch before other events: ids meet ids that are stored elsewhere, or in another order."""
        taken = {event.id: event for event in [*append.events[cut:], *other.events, *append.events[:cut]]}
        self._call([_alone(append, events=tuple(taken.values())), _alone(other, stream=stream)])

    @rule(append=sent)
    def new_events_before_known_ones(self, append: SentAppend) -> None:
        new = SentEvent(self._made_id(), b"{}")
        self._call([replace(append, own_ids=True, events=(new, *append.events))])

    @rule(target=sent, draft=drafts)
    def the_same_twice_in_one_call(self, draft: Any) -> SentAppend:
        """As two processes behind one load balancer do, when a request is repeated at once."""
        append = self._append(*draft)
        self._call([append, replace(append, expected="any"), append])
        return append

    @rule(append=sent, data=st.sampled_from(DATA), place=st.integers(0, 3))
    def repeat_with_other_data(self, append: SentAppend, data: bytes, place: int) -> None:
        changed = list(append.events)
        changed[place % len(changed)] = replace(changed[place % len(changed)], data=data)
        self._call([replace(append, events=tuple(changed)), append])

    @rule(age=ages, since_us=st.sampled_from([-WINDOW_US, 0, WINDOW_US // 16, WINDOW_US]))
    def time_passes(self, age: int, since_us: int) -> None:
        """The last noting call was so long ago; below 0: the clock was set back since."""
        at = self.real.now() - since_us
        self.model.age, self.model.at = age, at
        self.real.set_head(age=age, at=at)

    @rule()
    def the_server_is_another_process(self) -> None:
        self.real.become_another_process()

    @rule(ahead_us=st.sampled_from([1, HOUR_US, 40 * HOUR_US]))
    def the_clock_is_set_back(self, ahead_us: int) -> None:
        """As if what is stored had been recorded by a clock that ran ahead."""
        self.model.last = max(self.model.last, self.real.now() + ahead_us)
        self.real.set_head(last=self.model.last)

    @rule(ahead_us=st.sampled_from([1, HOUR_US]))
    def a_server_whose_clock_ran_ahead_began_an_epoch(self, ahead_us: int) -> None:
        """Its number was fixed, and has an event or not; then another process took over."""
        self.model.number = max(self.model.number, self.real.now() + ahead_us)
        self.real.set_head(number=self.model.number)
        self.real.become_another_process()

    @rule(stream=st.sampled_from(STREAMS), how=st.sampled_from(WRONG_TYPES))
    def a_stranger_takes_an_index_key(self, stream: str, how: str) -> None:
        if stream not in self.model.streams and stream not in self.model.broken:
            self.real.spoil(stream, how)
            self.model.broken.add(stream)

    @rule(stream=st.sampled_from(STREAMS))
    def the_stranger_goes(self, stream: str) -> None:
        if stream in self.model.broken:
            self.real.mend(stream)
            self.model.broken.remove(stream)

    @rule()
    def the_log_is_opened_again(self) -> None:
        assert self.real.create() == 0
        assert self.real.state() == expected_state(self.model, self.real.keys)

    def _append(self, stream: str, expected: int | str, own_ids: bool, cause: Any, events: Any) -> SentAppend:
        kind, offset = cause
        cause_at = max({"none": 0, "last": self.model.last, "now": self.real.now()}[kind] + offset, 0)
        if not own_ids:
            events = tuple(replace(event, id=self._made_id()) for event in events)
        return SentAppend(stream, self._expected(stream, expected), own_ids, cause_at, events)

    def _expected(self, stream: str, expected: int | str) -> int | str:
        return expected if isinstance(expected, str) else max(self.model.version(stream) + expected, 0)

    def _made_id(self) -> UUID:
        self.made_ids += 1
        return UUID(int=self.made_ids)

    def _call(self, appends: list[SentAppend]) -> None:
        replid, before = self.real.replid(), self.real.now()
        verdicts = self.real.call(appends)
        after, state = self.real.now(), self.real.state()
        candidates = []
        for moment in self._moments(before, after, verdicts, state["head"], replid):
            model = self.model.copy()
            if model.call(appends, moment, replid) == verdicts and expected_state(model, self.real.keys) == state:
                self.model = model
                return
            candidates.append(model)
        model = self.model.copy()
        assert model.call(appends, after, replid) == verdicts
        assert expected_state(model, self.real.keys) == state
        raise AssertionError("no moment between the two readings of the clock explains what the script did")

    def _moments(
        self, before: int, after: int, verdicts: list[Verdict], head: dict[str, str], replid: str
    ) -> list[int]:
        """Where the script's clock shows in what it did; if nowhere, any moment is as good."""
        shown = {int(head["at"]), int(head["number"]) - 1 - int(replid[:TAG_DIGITS], 16)}
        shown |= {receipt[2] for verdict in verdicts if verdict[0] == "ok" for receipt in verdict[1:]}
        shown |= {verdict[1] for verdict in verdicts if verdict[0] == "drift"}
        return [*(moment for moment in shown if before <= moment <= after), after]


def _alone(append: SentAppend, **changes: Any) -> SentAppend:
    """The first part, changed: a change may clash with another part."""
    return replace(append, others=(), **changes)


@pytest.fixture(params=["redis-server", "embedded"], scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    binary = find_program() if request.param == "embedded" else request.param
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(redis_server(binary, ["--enable-debug-command", "local"])) as server,
    ):
        yield server


@pytest.mark.timeout(400)  # finding the smallest failing case may take 300 s
def test_append_does_what_the_model_does(server: Server) -> None:
    with redis.Redis(port=server.port, protocol=2) as client:
        machine = type("Machine", (LogMachine,), {"client": client})
        run_state_machine_as_test(
            machine, settings=settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None, print_blob=True)
        )
