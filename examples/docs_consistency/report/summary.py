"""What a report is made of."""

from itertools import groupby

from msgspec import Struct

from examples.docs_consistency.checks import Finding

KINDS = {
    "missing-file": "to files that do not exist",
    "missing-anchor": "to anchors that do not exist",
    "leaves-root": "out of the checkout",
}


class Report(Struct, frozen=True):
    """Everything that a run has to say. `new_events` were appended by this run, for all of the checkout; `files`,
    `documents` and all that follows are of the `part` of it that was looked at (`docs/`; empty: all)."""

    source: str
    commit: str | None
    part: str
    new_revisions: int
    new_events: int
    files: int
    documents: int
    links: int
    external: int
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def by_document(self) -> list[tuple[str, list[Finding]]]:
        return [(path, list(found)) for path, found in groupby(self.findings, key=lambda finding: finding.path)]

    @property
    def by_kind(self) -> dict[str, int]:
        return {kind: sum(1 for finding in self.findings if finding.kind == kind) for kind in KINDS}

    @property
    def verdict(self) -> str:
        if not self.findings:
            return "Nothing was found."
        documents = len({finding.path for finding in self.findings})
        return f"{_count(len(self.findings), 'finding')} in {_count(documents, 'document')}."


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
