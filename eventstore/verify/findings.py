"""What a check of the log finds: a sentence for each, bounded in number."""

from msgspec import Struct

MAX_ALIKE = 20


class Finding(Struct, frozen=True):
    """One thing that is not as it must be. `invariant` counts as in DESIGN.md section 8; `where` names a position, a
    stream, a key or an id; `detail` is a sentence about it."""

    invariant: int
    partition: int | None
    where: str
    detail: str


class Findings:
    """Collects them. Of one kind the first 20 in a partition are kept, the others counted: a damaged log may hold a
    million."""

    def __init__(self) -> None:
        self._kept: list[Finding] = []
        self._counts: dict[tuple[str, int, int | None], int] = {}

    def add(self, kind: str, invariant: int, partition: int | None, where: str, detail: str) -> None:
        key = (kind, invariant, partition)
        count = self._counts[key] = self._counts.get(key, 0) + 1
        if count <= MAX_ALIKE:
            self._kept.append(Finding(invariant, partition, where, detail))

    def all(self) -> list[Finding]:
        more = [
            Finding(invariant, partition, kind, f"{count - MAX_ALIKE:,} more findings of this kind")
            for (kind, invariant, partition), count in self._counts.items()
            if count > MAX_ALIKE
        ]
        return self._kept + more
