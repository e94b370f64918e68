"""Attempt timeouts without a timer per event, and attempts that are broken off from outside.

Each worker of a member has a slot. Before a handler is called its deadline is set, afterwards cleared; a ticker of the
member asks all slots which are over their time, and only then anything is cancelled:

    slot.deadline = monotonic() + 60 -> handler returns -> slot.deadline = NEVER       the usual way: two assignments
    slot.deadline passes -> overdue(now): task.cancel() -> handler ends -> settle(): a failed attempt, TimeoutError
    the partition is lost -> interrupt(): task.cancel() -> handler ends -> settle(): raises Interrupted, no attempt
    somebody else cancels the task                      -> handler ends -> settle(): raises CancelledError, no attempt

All of it runs in one event loop, so that a slot is never half set. `asyncio` counts the cancellations of a task, and
that tells the slot's own from others': it takes back its own (`uncancel`), and what is left is somebody else's. A
handler that swallows its cancellation is late, or interrupted, all the same. A thread cannot be stopped: when it is
over its time its worker waits until it has ended, and then it was late; when it is interrupted it is left behind.
"""

import asyncio
import math

NEVER = math.inf


class Interrupted(Exception):
    """The slot's attempt was broken off by `interrupt`. It counts as none, and its worker goes on."""


class Slot:
    """Of one worker. Make it in the worker's own task, in which everything else happens but `overdue`, `interrupt`."""

    __slots__ = ("_before", "_interrupted", "_sent", "_task", "again", "cancels", "deadline", "disturbed", "late_since")

    def __init__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a slot belongs to a task")
        self._task = task
        self._before = task.cancelling()
        self._sent = 0  # cancellations of ours
        self._interrupted = False
        self.deadline = NEVER
        """When the attempt under way is over its time, in seconds of `time.monotonic()`."""
        self.cancels = True
        """Whether what runs can be cancelled: a thread cannot."""
        self.late_since = 0.0
        """When the attempt under way was found to be over its time; 0 if it is not. One that stays so long is hung."""
        self.again: object = None
        """The event that was tried again at once last: the one in hands, while that goes on."""
        self.disturbed = False
        """Whether the attempt is late or interrupted, so that `settle` must be asked what it means."""

    def overdue(self, now: float) -> bool:
        """For the watchdog: cancels the attempt if it is over its time. True if it is, and still has not ended."""
        if now >= self.deadline:
            self.deadline = NEVER
            self.late_since = now
            self.disturbed = True
            if self.cancels:
                self._cancel("the attempt is over its time")
        return self.late_since > 0

    def interrupt(self) -> None:
        """Breaks off the handling under way, of which there must be one: it raises Interrupted."""
        self._interrupted = self.disturbed = True
        if self.deadline != NEVER or self.late_since:  # else it is between two attempts, and looks
            self._cancel("the attempt is interrupted")

    def _cancel(self, why: str) -> None:
        self._sent += 1
        self._task.cancel(why)

    def end(self, late: str) -> None:
        """The attempt has returned. Raises, for `settle`, if it did so too late."""
        self.deadline = NEVER
        if self.disturbed:
            raise TimeoutError(late)

    def settle(self, raised: BaseException, late: str) -> BaseException:
        """Ends an attempt that has raised something: returns that by which it has failed, a TimeoutError which says
        `late` if it was over its time, whatever it did then. Raises what is no failure of it."""
        left, interrupted, was_late = self._taken_back(), self._interrupted, self.late_since > 0
        self.deadline, self.late_since = NEVER, 0.0
        self._interrupted = self.disturbed = False
        if isinstance(raised, KeyboardInterrupt | GeneratorExit | Interrupted):
            raise raised
        if left > self._before:
            raise raised if isinstance(raised, asyncio.CancelledError) else asyncio.CancelledError from raised
        if interrupted:
            raise Interrupted from raised
        if not was_late:
            return raised
        error = TimeoutError(late)
        error.__cause__ = None if type(raised) is TimeoutError and str(raised) == late else raised
        return error

    def _taken_back(self) -> int:
        """How many cancellations of others are left."""
        for _ in range(self._sent):
            self._task.uncancel()
        self._sent = 0
        return self._task.cancelling()
