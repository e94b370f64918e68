"""How much work an append case does, and how it is spread over tasks."""

from msgspec import Struct


class Load(Struct, frozen=True):
    """`tasks` at once, each of which appends `calls` times `batch` events, one call after the other."""

    tasks: int
    batch: int
    calls: int

    @property
    def events(self) -> int:
        return self.tasks * self.batch * self.calls

    @property
    def title(self) -> str:
        who = "1 task" if self.tasks == 1 else f"{self.tasks} tasks"
        return who if self.batch == 1 else f"{who}, batches of {self.batch}"


FULL = (Load(1, 1, 1_000), Load(50, 1, 200), Load(500, 1, 40), Load(8, 100, 60))
QUICK = (Load(1, 1, 200), Load(50, 1, 20), Load(500, 1, 4), Load(8, 100, 5))
