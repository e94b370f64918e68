"""What can go wrong with the documentation itself, beside the errors of the log."""

from infrastructure.errors import EventStoreError


class BadInput(EventStoreError):
    """What the user named is no folder, has no such revision, or cannot be written."""

    code = "bad-request"


class SourceError(EventStoreError):
    """The folder or checkout cannot be read; names what and says what to do."""

    code = "source-unreadable"


class ContentGone(SourceError):
    """The folder no longer has the content that was asked for: it was changed or removed."""


class OtherSource(EventStoreError):
    """The log already holds the documents of another checkout. Nothing was appended."""

    code = "bad-request"


class TakenBack(EventStoreError):
    """A step has failed for good, and what the steps before it had done was taken back."""

    code = "taken-back"


class Stuck(EventStoreError):
    """Something could not be taken back. Somebody has to look at it."""

    code = "stuck"


class ReadModelUnusable(EventStoreError):
    """The file of the read model cannot be opened or written: its place, its rights, or a full disk."""

    code = "read-model-unusable"


class ReadModelDamaged(EventStoreError):
    """An event does not follow the row that it should: the read model is not the fold of this log."""

    code = "read-model-diverged"
