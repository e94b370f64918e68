"""Sagas: processes over many streams that end completed or compensated, whatever fails and whoever restarts.

`definition` says what a saga does, `facts` what its stream keeps, `state` folds them, `advance` decides what follows.
`route` brings events to sagas, `react` runs their steps; both are ordinary consumers.
"""

from consumers.sagas.context import StepContext
from consumers.sagas.errors import SagaConflict, SagaNotFound, SagaState, UnknownSagaVersion
from consumers.sagas.reactions import CancelTimer, Compensate, Complete, Timer, Undo, on
from consumers.sagas.saga import Saga
from consumers.sagas.start import Begun, start
from consumers.sagas.steps import step

__all__ = [
    "Begun",
    "CancelTimer",
    "Compensate",
    "Complete",
    "Saga",
    "SagaConflict",
    "SagaNotFound",
    "SagaState",
    "StepContext",
    "Timer",
    "Undo",
    "UnknownSagaVersion",
    "on",
    "start",
    "step",
]
