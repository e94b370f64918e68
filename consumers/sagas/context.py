"""What an action of a saga may ask, and how it sends events."""

from typing import Any

import structlog

from consumers.context import To

_logger = structlog.get_logger("sagas")


class StepContext:
    """Of one attempt at a step, or at its compensation. Actions that take a parameter annotated with it get one."""

    __slots__ = (
        "_logger",
        "_sent",
        "attempt",
        "correlation_id",
        "deadline",
        "fencing_token",
        "saga_id",
        "step",
        "traceparent",
        "undo",
    )

    def __init__(
        self,
        saga_id: str,
        step: str,
        *,
        undo: bool = False,
        attempt: int = 1,
        correlation_id: str | None = None,
        traceparent: str | None = None,
        deadline: float = float("inf"),
        fencing_token: int = 0,
    ) -> None:
        self.saga_id = saga_id
        """As in `saga-ingestion-42`: the stream of the saga."""
        self.step = step
        self.undo = undo
        """Whether the step is taken back."""
        self.attempt = attempt
        self.correlation_id = correlation_id
        self.traceparent = traceparent
        """The trace that the saga belongs to, as W3C writes it; None if it was started in none."""
        self.deadline = deadline
        """When the attempt is over its time, in seconds of `time.monotonic()`."""
        self.fencing_token = fencing_token
        """Grows with every change of the worker that may run this saga: what lies outside refuses a lower one."""
        self._sent: list[To] = []
        self._logger: Any = None

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt at this step, or at its compensation, and for nothing else."""
        return f"{self.saga_id}:{self.step}{':undo' if self.undo else ''}"

    def send(self, stream: str, event: Any) -> None:
        """Appends an event to a stream, exactly once, if the attempt succeeds."""
        self._sent.append(To(stream, event))

    @property
    def sent(self) -> tuple[To, ...]:
        return tuple(self._sent)

    @property
    def logger(self) -> Any:
        """A structlog logger that says which saga is at which step."""
        if self._logger is None:
            self._logger = _logger.bind(
                saga=self.saga_id,
                step=self.step,
                attempt=self.attempt,
                correlation_id=self.correlation_id,
                **({"undo": True} if self.undo else {}),
            )
        return self._logger
