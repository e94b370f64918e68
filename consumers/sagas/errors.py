"""Errors of sagas that a caller may catch."""

from consumers.errors import EventStoreError, LackedHere


class SagaNotFound(EventStoreError):
    """There is no saga of that id, or nothing has started it yet."""

    code = "saga-not-found"

    def __init__(self, stream: str) -> None:
        self.stream = stream
        super().__init__(f"there is no saga {stream}", field="saga", remedy="eventstore sagas", facts={"saga": stream})


class SagaConflict(EventStoreError):
    """The saga runs already, and was started with other data. Nothing was changed."""

    code = "id-conflict"

    def __init__(self, stream: str) -> None:
        self.stream = stream
        super().__init__(
            f"{stream} was started with other data",
            field="data",
            remedy=f"another id for another saga; see this one: eventstore sagas show {stream}",
            facts={"saga": stream},
        )


class SagaState(EventStoreError):
    """What was asked for cannot be done to the saga as it is. Nothing was changed."""

    code = "wrong-state"

    def __init__(self, stream: str, detail: str, remedy: str | None = None) -> None:
        self.stream = stream
        super().__init__(detail, field="saga", remedy=remedy, facts={"saga": stream})


class UnknownSagaVersion(LackedHere):
    """A saga was started under a version of its definition that this process does not have."""

    def __init__(self, saga: str, versions: dict[int, int]) -> None:
        self.saga, self.versions = saga, versions
        listed = ", ".join(f"version {version} ({count:,} of them)" for version, count in sorted(versions.items()))
        super().__init__(
            f"sagas of type {saga} live that were started under {listed}, which this worker does not have",
            field="version",
            remedy=f'Saga("{saga}", ..., earlier=[the older definition]), or .migrate(version, change)',
            facts={"saga": saga, "versions": versions},
        )
