"""What can go wrong with the documentation itself, beside the errors of the log."""

from infrastructure.errors import EventStoreError


class BadSource(EventStoreError):
    """What the user named is no folder, or has no such revision."""

    code = "bad-request"


class SourceError(EventStoreError):
    """The folder or checkout cannot be read; names what and says what to do."""

    code = "source-unreadable"


class OtherSource(EventStoreError):
    """The log already holds the documents of another checkout. Nothing was appended."""

    code = "bad-request"


class ReadModelDamaged(EventStoreError):
    """An event does not follow the row that it should: the read model is not the fold of this log."""

    code = "read-model-diverged"
