"""The events of the application: what happened to one file, in the stream of its path.

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


DocumentEvent = DocumentAdded | DocumentChanged | DocumentRemoved
TYPES = (DocumentAdded, DocumentChanged, DocumentRemoved)
CATEGORY = "document"
