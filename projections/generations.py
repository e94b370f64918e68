"""Generations of a read model: the one that is read, one being built beside it, one kept to go back to."""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

State = Literal["building", "live", "kept"]


class Generation(Struct, frozen=True):
    """`version` is that of the projection which fills it; `number` 0 until the sink has given one. `diverged` says that
    the log has lost events that are in its rows: a rebuild puts it right."""

    projection: str
    version: int
    number: int = 0
    state: State = "building"
    begun_at: int = 0
    diverged: bool = False
    tables: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The consumer group that fills it."""
        return f"projection.{self.projection}.{self.number}"


def standing(of_projection: Iterable[Generation], version: int, *, again: bool) -> Generation | None:
    """The generation that makes it needless to begin another one of this version: one that is being built; any, if it
    is not to be done `again`."""
    ours = [each for each in of_projection if each.version == version]
    building = [each for each in ours if each.state == "building"]
    if building:
        return building[-1]
    return ours[-1] if ours and not again else None


def physical(table: str, generation: int) -> str:
    """What a table of a generation is called; its own name is a view of the one that is read."""
    return f"{table}__{generation}"
