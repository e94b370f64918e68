"""How much work an append case does, and how it is spread over processes and tasks."""

from msgspec import Struct
from msgspec.structs import replace


class Load(Struct, frozen=True):
    """In each process `tasks` at once, each of which appends `calls` times `batch` events, one call after the other.
    Where a client has no asynchronous calls, its tasks are threads."""

    tasks: int
    batch: int
    calls: int
    processes: int = 1

    @property
    def events(self) -> int:
        return self.processes * self.tasks * self.batch * self.calls

    @property
    def title(self) -> str:
        tasks = "1 task" if self.tasks == 1 else f"{self.tasks} tasks"
        who = tasks if self.processes == 1 else f"{self.processes} processes of {tasks}"
        return who if self.batch == 1 else f"{who}, batches of {self.batch}"

    def shortened(self, share: float) -> "Load":
        """The same tasks and batches, fewer calls."""
        return replace(self, calls=max(1, round(self.calls * share)))


FULL = (
    Load(1, 1, 1_000),
    Load(50, 1, 200),
    Load(500, 1, 40),
    Load(8, 100, 60),
    Load(1, 1, 400, processes=8),
    Load(50, 1, 40, processes=8),
)
QUICK = (Load(1, 1, 100), Load(50, 1, 10), Load(8, 100, 2), Load(1, 1, 20, processes=2))
