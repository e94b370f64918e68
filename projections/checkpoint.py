"""How far a generation of a read model is, in one partition."""

from collections.abc import Mapping

from msgspec import Struct, field

from consumers.state import Row
from eventstore.cursor import Place


class Part(Struct, frozen=True):
    """One partition of one generation of a projection."""

    projection: str
    generation: int
    partition: int


class Checkpoint(Struct, frozen=True):
    """The truth about a part. Everything up to `place` is in the rows, but for streams with a row of their own in
    `detached`: of these, what is below its `next`. `chain` are the epochs that it was read under. `number` counts the
    transactions of the claim `term`."""

    term: int
    number: int
    place: Place = (0, 0)
    chain: str = ""
    detached: Mapping[str, Row] = field(default_factory=dict)


class Step(Struct, frozen=True):
    """What one transaction makes of a checkpoint. Of `detached` only what changes: None, where a stream has no row any
    more."""

    term: int
    number: int
    place: Place
    chain: str
    detached: Mapping[str, Row | None]


class Refused(Exception):
    """A claim or a transaction of somebody whose term is not the highest any more."""

    def __init__(self, term: int) -> None:
        self.term = term
        super().__init__(f"term {term} has claimed it")


class BadChange(Exception):
    """A change that the database refuses: the one at `index`. Nothing was written."""

    def __init__(self, index: int, why: str) -> None:
        self.index, self.why = index, why
        super().__init__(why)
