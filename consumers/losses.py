"""Says in a worker's log which partitions it has lost: one line for those that were lost together by the same, and none
that alarms where a command has moved the group, which takes every lease by force. And which it has taken from workers
that died one after the other: an event that kills its process is never parked, for nobody is left to count."""

import re
from collections.abc import Callable

import structlog

from consumers.scope import Scope
from consumers.state import Stored, Token

REMEMBERED_SECONDS = 60.0
"""After so long it does not matter any more by what a partition was lost."""
DEATHS = 3
"""So many holders in a row died with a partition: that is no accident."""
_BY_COMMAND = re.compile(r"nobody has it now|(replay|operator)-[0-9a-f]{8} has it now\b")

logger = structlog.get_logger(__name__)


def taken_by(token: Token) -> str:
    """Why a lease is lost whose token is this one now, in the words of the scripts."""
    return f"{token.owner} has it now, term {token.term}" if token.owner else "nobody has it now"


class Losses:
    """Of one member. Whether a replay has moved a partition is seen when it is taken again. `clock` gives seconds that
    never go back."""

    def __init__(self, group: str, clock: Callable[[], float]) -> None:
        self._group, self._clock = group, clock
        self._replays: dict[int, tuple[str, bool]] = {}  # of each partition, as it was when it was taken last
        self._by_command: dict[int, tuple[float, str]] = {}
        self._untold: dict[str, list[int]] = {}
        self._told = ("", False)
        self._deadly: dict[int, Stored] = {}
        self._not_taken: set[int] = set()

    def lost(self, partition: int, why: str) -> None:
        """The lease of a partition is lost."""
        if _BY_COMMAND.match(why):
            self._by_command[partition] = self._clock(), why
        else:
            self._note(partition, why)

    def not_taken(self, partition: int, why: str) -> None:
        """Its master is away, so it could not be: told once, until it is taken."""
        if partition not in self._not_taken:
            self._not_taken.add(partition)
            logger.warning("not_taken", group=self._group, partition=partition, why=why)

    def taken(self, partition: int, scope: Scope | None, stored: Stored) -> None:
        """It was taken, with what the last replay wants of it."""
        self._not_taken.discard(partition)
        if stored.lapsed >= DEATHS:
            self._deadly[partition] = stored
        mute = stored.mute
        before, found = self._replays.get(partition), ("" if scope is None else scope.job, mute)
        self._replays[partition] = found
        lost_at, why = self._by_command.pop(partition, (0.0, ""))
        if not why or self._clock() - lost_at > REMEMBERED_SECONDS:
            return
        if found == before:
            self._note(partition, why)
        elif found != self._told:
            self._told = found
            what = f"the cancel of replay {found[0]}" if mute else f"replay {found[0]}"
            logger.info("partitions_moved", group=self._group, why=f"taken by {what}")

    def tell(self) -> None:
        """To be called now and then."""
        for why, partitions in self._untold.items():
            logger.warning("partitions_lost", group=self._group, partitions=sorted(partitions), why=why)
        self._untold.clear()
        if self._deadly:
            self._tell_deadly()

    def _tell_deadly(self) -> None:
        logger.error(
            "workers_die",
            group=self._group,
            in_a_row=max(stored.lapsed for stored in self._deadly.values()),
            behind=[f"{partition}:{stored.offset[1]}" for partition, stored in sorted(self._deadly.items())],
            remedy="an event may kill its worker, and nobody is left then to park it: see by what they ended (a signal,"
            " out of memory) and what they handled; a handler in a process of its own can fail instead, and a replay to"
            " a position behind the event passes over it",
        )
        self._deadly.clear()

    def _note(self, partition: int, why: str) -> None:
        self._untold.setdefault(why.partition(", term ")[0], []).append(partition)
