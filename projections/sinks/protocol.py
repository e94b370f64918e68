"""What a sink must do, for read models kept elsewhere than in Redis. `contract.py` tests one of yours.

    claim    whoever has the lease of a partition raises the term of its checkpoint, and gets it
    apply    one transaction: compare and set (term, number) first, then the changes, then the rest of the checkpoint

The calls are made in threads, never two at once for one part. A call that is refused has changed nothing. `apply` of a
number that was applied before changes nothing and succeeds: its answer was lost.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from consumers.state import Effect
from projections.checkpoint import Checkpoint, Part, Step
from projections.generations import Generation


class Sink(Protocol):
    """Thread-safe. Raises Unavailable for what may pass, such as a lost connection."""

    def close(self) -> None:
        """It is not used any more."""

    def prepare(self, generation: Generation) -> None:
        """Makes what the generation needs, if it is not there."""

    def claim(self, part: Part, term: int) -> Checkpoint:
        """Raises Refused if the stored term is not below, or there is no such generation. Waits for a transaction
        of the one before that is open."""

    def apply(self, part: Part, step: Step, changes: Sequence[Effect]) -> None:
        """Raises Refused, BadChange."""

    def checkpoints(self, projection: str, generation: int) -> Mapping[int, Checkpoint]:
        """Of each partition that was ever claimed."""

    def generations(self, projection: str) -> Sequence[Generation]:
        """All that there are, oldest first."""

    def begin(self, generation: Generation, *, again: bool = False) -> Generation:
        """One is begun, unless one of its version is there and it is not to be done `again`; the number is new,
        and none that was dropped had it."""

    def mark_diverged(self, projection: str, generation: int) -> None:
        """The log has lost events that are in its rows."""

    def switch(self, projection: str, generation: int) -> None:
        """From now on this one is read, all of it in one transaction. The one before is kept. Of one that is not there
        nothing is changed."""

    def drop(self, projection: str, generation: int) -> None:
        """Removes a generation that is not read."""
