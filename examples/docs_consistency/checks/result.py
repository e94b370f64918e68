"""What a check found."""

from typing import Literal

from msgspec import Struct

Kind = Literal["missing-file", "missing-anchor", "leaves-root"]


class Finding(Struct, frozen=True):
    """One link that leads nowhere. `target` is as written in the document; `suggestion` could stand in its place."""

    path: str
    line: int
    target: str
    kind: Kind
    message: str
    suggestion: str | None = None


class Checked(Struct, frozen=True):
    """The findings in order of document and line, and what was looked at. `external` links (`https:`, `mailto:`,
    a submodule's inside) are counted, not followed."""

    findings: tuple[Finding, ...]
    documents: int
    links: int
    external: int
