"""Timers: events that are appended to their stream at a time, durably, exactly once and never before it."""

from consumers.timers.api import cancel_scheduled, schedule, scheduled
from consumers.timers.scheduled import Scheduled

__all__ = ["Scheduled", "cancel_scheduled", "schedule", "scheduled"]
