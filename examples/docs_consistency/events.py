"""The events of the application: what happened to one file, in the stream of its path; and how far a source has come,
in the stream of the source.

`commit` is the Git commit that made the change, None for a plain folder. `blob` is the Git id of the content, for a
plain folder too, so that a folder that becomes a checkout keeps its history.
"""

from datetime import datetime

from msgspec import Struct

from eventstore import event


@event(name="DocumentAdded")
class DocumentAdded(Struct, frozen=True):
    """The file is there, which it was not before."""

    path: str
    blob: str
    mode: str
    commit: str | None = None
    committed_at: datetime | None = None


@event(name="DocumentChanged")
class DocumentChanged(Struct, frozen=True):
    """The file has other content, or another mode."""

    path: str
    blob: str
    mode: str
    commit: str | None = None
    committed_at: datetime | None = None


@event(name="DocumentRemoved")
class DocumentRemoved(Struct, frozen=True):
    """The file is no longer there."""

    path: str
    commit: str | None = None
    committed_at: datetime | None = None


@event(name="SourceStored")
class SourceStored(Struct, frozen=True):
    """The read model has all files of the revision."""

    revision: str
    files: int


@event(name="SourceAnalysed")
class SourceAnalysed(Struct, frozen=True):
    """All links of the revision are judged."""

    revision: str
    documents: int
    links: int
    findings: int


@event(name="SourceReported")
class SourceReported(Struct, frozen=True):
    """The report on the revision is in a file."""

    revision: str
    file: str
    findings: int


@event(name="SourceWithdrawn")
class SourceWithdrawn(Struct, frozen=True):
    """What a step has told of the revision no longer holds."""

    revision: str
    step: str


DocumentEvent = DocumentAdded | DocumentChanged | DocumentRemoved
TYPES = (
    *(DocumentAdded, DocumentChanged, DocumentRemoved),
    *(SourceStored, SourceAnalysed, SourceReported, SourceWithdrawn),
)
CATEGORY = "document"
