"""What can go wrong with the documentation itself, beside the errors of the log."""

from infrastructure.errors import EventStoreError


class SourceError(EventStoreError):
    """The folder or checkout cannot be read as asked; names what and says what to do. Nothing was appended for it."""

    code = "bad-request"


class OtherSource(EventStoreError):
    """The log already holds the documents of another checkout. Nothing was appended."""

    code = "bad-request"


class ReadModelDamaged(EventStoreError):
    """An event does not follow the row that it should: the read model is not the fold of this log."""

    code = "read-model-diverged"
