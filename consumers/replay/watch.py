"""What a member does for the replays of its group: whoever holds the first partition of one looks after it."""

import anyio
import structlog

from consumers.errors import EventStoreError, ReplayNotFound
from consumers.member import Member
from consumers.replay.course import get_replay, settle
from eventstore.store import EventStore

LOOK_SECONDS = 1.0
MOST_OF_THE_TIME = 20
"""A look at ten thousand rows takes its time: the next one waits for so many times that."""

logger = structlog.get_logger(__name__)


async def look_after(store: EventStore, member: Member) -> None:
    """For as long as it is not cancelled: says how far replays are, cancels them if somebody asks for it, and ends them
    when nothing is left."""
    over: set[str] = set()
    while True:
        begun = anyio.current_time()
        for replay_id in member.replays - over:
            try:
                replay = await settle(store, (await get_replay(store, replay_id)).job)
            except ReplayNotFound:  # a failover has lost its beginning: there is no job to tell of
                over.add(replay_id)
            except EventStoreError as error:
                logger.warning("replay_not_looked_after", group=member.group, replay=replay_id, why=str(error))
            else:
                if replay.job.ended_at is not None:
                    over.add(replay_id)
        took = anyio.current_time() - begun
        await anyio.sleep(max(LOOK_SECONDS, MOST_OF_THE_TIME * took))
