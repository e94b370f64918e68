"""Replay: a group handles events again that it had finished. First a plan, then a job; cancel puts the group back."""

from consumers.replay.course import cancel, execute, get_replay, list_replays, resume
from consumers.replay.plan import ReplayPlan, plan
from consumers.replay.progress import Replay
from consumers.replay.request import PartMove, Request, StreamMove
from consumers.replay.targets import Target, parse_target

__all__ = [
    "PartMove",
    "Replay",
    "ReplayPlan",
    "Request",
    "StreamMove",
    "Target",
    "cancel",
    "execute",
    "get_replay",
    "list_replays",
    "parse_target",
    "plan",
    "resume",
]
