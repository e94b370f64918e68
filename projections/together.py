"""Transactions of several partitions made one: what comes while one is under way goes out together, in the next.

Sixteen partitions that have a few events each would else make sixteen transactions, which wait for the same rows, and
for the disk one after the other: on PostgreSQL with 5,000 events a second rows came seconds later.
"""

from collections.abc import Sequence
from contextlib import suppress

import anyio

from consumers.state import Effect
from projections.checkpoint import BadChange, Part, Refused, Step
from projections.sinks.protocol import Sink
from projections.sinks.sql import SqlSink
from projections.threads import in_thread

MOST_CHANGES = 20_000
"""Of one transaction, if it is of more than one partition: others wait for it."""


class _Asked:
    """By one partition."""

    __slots__ = ("changes", "error", "part", "step")

    def __init__(self, part: Part, step: Step, changes: Sequence[Effect]) -> None:
        self.part, self.step, self.changes = part, step, changes
        self.error: Exception | None = None


class Together:
    """Of one generation in this process."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._waiting: list[_Asked] = []
        self._lock = anyio.Lock()

    async def apply(self, part: Part, step: Step, changes: Sequence[Effect]) -> None:
        """As the sink's own: what one asks for fails by itself. Sinks of one's own have it as it comes."""
        if not isinstance(self._sink, SqlSink):
            await in_thread(self._sink.apply, part, step, changes)
            return
        own = _Asked(part, step, changes)
        self._waiting.append(own)
        try:
            async with self._lock:
                while own in self._waiting:
                    await in_thread(_apply, self._sink, self._taken())
        finally:
            if own in self._waiting:
                self._waiting.remove(own)
        if own.error is not None:
            raise own.error

    def _taken(self) -> list[_Asked]:
        """Of those that wait the first ones."""
        count = changes = 0
        for each in self._waiting:
            changes += len(each.changes)
            if count and changes > MOST_CHANGES:
                break
            count += 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken


def _apply(sink: SqlSink, asked: Sequence[_Asked]) -> None:
    if len(asked) > 1:
        try:
            with suppress(Refused, BadChange):  # nothing was written then: one by one it is seen of whom
                sink.apply_all([(each.part, each.step, each.changes) for each in asked])
                return
        except Exception as error:  # noqa: BLE001 - raised where it was asked for
            for each in asked:
                each.error = error
            return
    for each in asked:
        try:
            sink.apply(each.part, each.step, each.changes)
        except Exception as error:  # noqa: BLE001 - the same
            each.error = error
