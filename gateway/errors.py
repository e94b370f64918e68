"""Errors that only the ways in know: what is asked for by name and is not there, and a stop on request."""

from infrastructure.errors import EventStoreError


class StreamNotFound(EventStoreError):
    """Nothing was ever appended to the stream."""

    code = "stream-not-found"

    def __init__(self, stream: str) -> None:
        self.stream = stream
        super().__init__(
            f"there is no stream {stream}", field="stream", remedy="eventstore streams", facts={"stream": stream}
        )


class BadRequest(EventStoreError):
    """What was asked for makes no sense as it is."""

    code = "bad-request"
