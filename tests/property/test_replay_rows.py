"""Replay, skip and cancel as functions of what is stored, in every order with all else that happens to a group.

What must hold after each step is told by what was ever finished alone:

    replaying       an event that is not finished now is a replay exactly if it was finished, or skipped, before
    nothing lost    an event that was never finished nor skipped is not finished now, whatever was replayed
    gone back       what was finished above the target is not finished after a replay, and nothing else has changed
    put back        after a cancel nothing is finished that the group had not finished before
"""

import os
from bisect import bisect_right

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consumers.replay.places import Question, Standing
from consumers.replay.rows import left, moved_by_stream, moved_in_place, questions
from consumers.state import Row, RowState

SOAK = bool(os.environ.get("EVENTSTORE_SOAK"))
STREAMS = ["a", "b", "c", "d"]
Event = tuple[str, int]


class ReplayMachine(RuleBasedStateMachine):
    """One partition of a group: commits that finish, detach or fail events, and the moves that operators make."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.index: dict[str, list[int]] = {}
        self.offset = self.fin = 0
        self.mute = False
        self.rows: dict[str, Row] = {}
        self.ever: set[Event] = set()  # finished at any time, or skipped

    # ---- the log, and what members commit ----

    @rule(streams=st.lists(st.sampled_from(STREAMS), min_size=1, max_size=6))
    def append(self, streams: list[str]) -> None:
        for stream in streams:
            positions = self.index.setdefault(stream, [])
            self.events.append((stream, len(positions) + 1))
            positions.append(len(self.events))

    @precondition(lambda self: self.offset < len(self.events))
    @rule(failing=st.sets(st.sampled_from(STREAMS), max_size=2), data=st.data())
    def the_main_pass_goes_on(self, failing: set[str], data: st.DataObject) -> None:
        end = data.draw(st.integers(self.offset + 1, len(self.events)), "offset")
        fin = self.fin
        for position in range(self.offset + 1, end + 1):
            stream, version = self.events[position - 1]
            is_passed_over = self.mute and position <= fin
            if stream in failing and stream not in self.rows and not is_passed_over:
                state = data.draw(st.sampled_from(RowState), "state")
                self.rows[stream] = self._row(stream, version, state, fin)
        self.offset, self.fin = end, max(self.fin, end)
        self._reattach()

    @precondition(lambda self: any(self._can_go_on(stream) for stream in self.rows))
    @rule(steps=st.integers(1, 4), state=st.sampled_from(RowState), data=st.data())
    def a_lane_goes_on(self, steps: int, state: RowState, data: st.DataObject) -> None:
        """So many events succeed, as they do in a lane or after an order; the one behind is in that state."""
        stream = data.draw(st.sampled_from([each for each in self.rows if self._can_go_on(each)]), "stream")
        row = self.rows[stream]
        version = min(row.next + steps, len(self.index[stream]) + 1)
        exists = version <= len(self.index[stream])
        self.rows[stream] = self._row(stream, version, state if exists else RowState.CLEAN, row.fin)
        self._reattach()

    # ---- what operators do ----

    @precondition(lambda self: self.offset > 0)
    @rule(data=st.data())
    def replay_in_place(self, data: st.DataObject) -> None:
        target = data.draw(st.integers(0, self.offset), "target")
        before = self._finished()
        self._move(target)
        positions = {event: self._position(*event) for event in before}
        assert self._finished() == {event for event in before if positions[event] <= target}

    @precondition(lambda self: self.offset < len(self.events))
    @rule(data=st.data())
    def skip(self, data: st.DataObject) -> None:
        target = data.draw(st.integers(self.offset + 1, len(self.events)), "target")
        before = self._finished()
        self._move(target)
        skipped = {event for event in self.events if self._position(*event) <= target}
        assert self._finished() == before | skipped
        self.ever |= skipped

    def _move(self, target: int) -> None:
        for stream, row in list(self.rows.items()):
            standing = self._standing(Question(stream, row.next, target))
            moved = moved_in_place(row, standing, offset=self.offset, target=target)
            assert (moved or row) == self._sought(stream, row, target)
            self.rows[stream] = moved or row
        self.fin = max(self.fin, self.offset, target)
        self.offset, self.mute = target, False

    def _sought(self, stream: str, row: Row, target: int) -> Row:
        """By the tables of PROTOCOLS 4, word for word."""
        before, first_above = self._position(stream, row.next - 1), bisect_right(self.index[stream], target) + 1
        if target <= self.offset:
            return Row(first_above, fin=max(row.fin, before)) if before > target else row
        at = self._position_or_more(stream, row.next)
        return Row(first_above, fin=max(row.fin, target)) if at <= target else row

    @precondition(lambda self: bool(self.index))
    @rule(data=st.data())
    def replay_one_stream(self, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from(sorted(self.index)), "stream")
        version = data.draw(st.integers(1, len(self.index[stream])), "version")
        row, before = self.rows.get(stream), self._finished()
        asked = Question(stream, row.next if row else 1, self.offset)
        moved = moved_by_stream(row, self._standing(asked), version, offset=self.offset, fin=self.fin)
        gone_back = {event for event in before if event[0] == stream and event[1] >= version}
        assert (moved is None) == (not gone_back)
        if moved is not None:
            self.rows[stream], self.mute = moved, False
        assert self._finished() == before - gone_back

    @rule()
    def cancel(self) -> None:
        """What is left of it is passed over, as the member does it that takes the lease next."""
        self.offset, self.mute = max(self.offset, self.fin), True
        for stream, row in list(self.rows.items()):
            following = row.next
            while row.state is not RowState.PARKED and self._position_or_more(stream, following) <= row.fin:
                following += 1
            if following > row.next:
                self.rows[stream] = Row(following, fin=row.fin)
        assert self._finished() <= self.ever
        assert [each for each in self._replays() if self.rows[each[0]].state is not RowState.PARKED] == []

    # ---- what must hold ----

    @invariant()
    def what_is_replayed_was_finished_before_and_nothing_else_is(self) -> None:
        self.ever |= self._finished()
        assert self._replays() == self.ever - self._finished()

    @invariant()
    def what_is_left_of_a_replay_is_counted_to_nothing_and_not_before(self) -> None:
        for until in (None, len(self.events) // 2):
            asked = questions(self.rows, offset=self.offset, fin=self.fin, until=until)
            answers = {each: self._standing(each) for each in asked}
            found = left(self.rows, answers, offset=self.offset, fin=self.fin, until=until)
            replays = {e for e in self._replays() if until is None or self._position(*e) <= until}
            assert found.open + found.waiting >= len(replays)
            if self.offset >= min(self.fin, self.fin if until is None else until):
                parked = {e for e in replays if e[0] in self.rows and self.rows[e[0]].state is RowState.PARKED}
                assert (found.open, found.waiting) == (len(replays - parked), len(parked))

    # ---- helpers ----

    def _finished(self) -> set[Event]:
        return {
            (stream, version)
            for position, (stream, version) in enumerate(self.events, 1)
            if (version < self.rows[stream].next if stream in self.rows else position <= self.offset)
        }

    def _replays(self) -> set[Event]:
        """Events that are not finished, and were."""
        fins = {stream: row.fin for stream, row in self.rows.items()}
        unfinished = set(self.events) - self._finished()
        return {event for event in unfinished if self._position(*event) <= fins.get(event[0], self.fin)}

    def _position(self, stream: str, version: int) -> int:
        return self.index[stream][version - 1] if version else 0

    def _standing(self, asked: Question) -> Standing:
        positions = self.index.get(asked.stream, [])
        at = self._position(asked.stream, asked.version) if asked.version <= len(positions) else None
        before = self._position(asked.stream, asked.version - 1)
        return Standing(before, at, bisect_right(positions, asked.position) + 1)

    def _row(self, stream: str, version: int, state: RowState, fin: int) -> Row:
        if state is RowState.CLEAN:
            return Row(version, fin=fin)
        return Row(version, state, 1, 0, fin, f"1-{self._position(stream, version)}")

    def _can_go_on(self, stream: str) -> bool:
        row = self.rows[stream]
        is_passed_over = self.mute and self._position_or_more(stream, row.next) <= row.fin
        return row.next <= len(self.index[stream]) and not is_passed_over

    def _position_or_more(self, stream: str, version: int) -> int:
        positions = self.index[stream]
        return positions[version - 1] if version <= len(positions) else len(self.events) + 1

    def _reattach(self) -> None:
        """PROTOCOLS 2, step 5."""
        for stream, row in list(self.rows.items()):
            before, after = self._position(stream, row.next - 1), None
            if row.next <= len(self.index[stream]):
                after = self._position(stream, row.next)
            if row.state is not RowState.CLEAN or before > self.offset:
                continue
            if after is None or (after > self.offset and (row.fin == self.fin or after > max(row.fin, self.fin))):
                del self.rows[stream]


TestReplay = ReplayMachine.TestCase
TestReplay.settings = settings(max_examples=2_000 if SOAK else 150, stateful_step_count=30, deadline=None)
