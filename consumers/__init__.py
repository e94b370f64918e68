"""Consumers: groups that handle the events of a log in order, with retries, dead letters and replay."""

from consumers import replay
from consumers.consumer import Consumer, consumer
from consumers.context import Context, To
from consumers.effects import Effects
from consumers.errors import (
    CommitRefused,
    DeadLetterNotFound,
    GroupNotFound,
    InvalidConsumer,
    OrderUnanswered,
    Stale,
)
from consumers.middleware import Middleware
from consumers.resources import Resource
from consumers.retry import Exponential, Fixed, Immediate, Linear, Park
from consumers.run import run
from consumers.sagas import (
    Begun,
    CancelTimer,
    Compensate,
    Complete,
    Saga,
    SagaConflict,
    SagaNotFound,
    SagaState,
    StepContext,
    Timer,
    Undo,
    UnknownSagaVersion,
    on,
    start,
    step,
)
from consumers.testing import given
from consumers.timers import Scheduled, cancel_scheduled, schedule, scheduled

__all__ = [
    "Begun",
    "CancelTimer",
    "CommitRefused",
    "Compensate",
    "Complete",
    "Consumer",
    "Context",
    "DeadLetterNotFound",
    "Effects",
    "Exponential",
    "Fixed",
    "GroupNotFound",
    "Immediate",
    "InvalidConsumer",
    "Linear",
    "Middleware",
    "OrderUnanswered",
    "Park",
    "Resource",
    "Saga",
    "SagaConflict",
    "SagaNotFound",
    "SagaState",
    "Scheduled",
    "Stale",
    "StepContext",
    "Timer",
    "To",
    "Undo",
    "UnknownSagaVersion",
    "cancel_scheduled",
    "consumer",
    "given",
    "on",
    "replay",
    "run",
    "schedule",
    "scheduled",
    "start",
    "step",
]
