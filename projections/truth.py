"""The truth about a generation, kept in its sink; what Redis has is a copy, made to follow at each claim and commit.

    claim    the term of the sink's checkpoint is raised: whoever had it before can change nothing any more
             the log has lost events that are in the rows: the generation is marked, and goes back to what is common
             Redis says something else: it is moved there, and the lease is taken anew
    commit   the sink's transaction, then the commit in Redis

A crash between the two leaves Redis behind, until the next claim. The rows of streams that re-attach leave the sink in
the transaction after the one that let them go, before anything else of that stream is applied.
"""

import structlog
from msgspec.structs import replace

from consumers.commit_call import commit, rewind
from consumers.errors import CommitRefused, Stale
from consumers.keys import GroupKeys
from consumers.state import Commit, Committed, Rewind, Row, Stored, Token
from consumers.truth import TakeAnew
from eventstore import audit, epochs
from eventstore.epochs import LostEvents
from eventstore.log import Log
from eventstore.store import EventStore
from projections.checkpoint import BadChange, Checkpoint, Part, Refused, Step
from projections.generations import Generation
from projections.sinks.protocol import Sink
from projections.threads import in_thread
from projections.together import Together

logger = structlog.get_logger("projections")


class InSink:
    """Of one generation, in this process."""

    def __init__(self, store: EventStore, sink: Sink, generation: Generation) -> None:
        self._store, self._sink, self._generation = store, sink, generation
        self._together = Together(sink)
        self._kept: dict[int, dict[str, Row]] = {}  # partition -> rows that the sink has
        self._gone: dict[int, set[str]] = {}  # partition -> streams whose rows are to leave it
        self._chains: dict[int, str] = {}

    async def claim(self, log: Log, keys: GroupKeys, token: Token, stored: Stored) -> Stored:
        part = self._part(keys.partition)
        try:
            found = await in_thread(self._sink.claim, part, token.term)
        except Refused as error:
            raise TakeAnew(error.term) from None
        found = await self._in_common(part, found, stored)
        self._kept[part.partition], self._gone[part.partition] = {**found.detached}, set()
        self._chains[part.partition] = stored.epochs.decode()
        if (found.place, found.detached) != (stored.offset, stored.rows):
            await self._follow(log, keys, token, found, stored)
            raise TakeAnew
        return replace(stored, fin=0)

    async def commit(self, log: Log, keys: GroupKeys, call: Commit) -> Committed:
        partition = keys.partition
        kept, gone = self._kept[partition], self._gone[partition]
        changed: dict[str, Row | None] = {stream: row for stream, row in call.rows.items() if kept.get(stream) != row}
        changed |= dict.fromkeys(gone - call.rows.keys())  # which may have left the main pass again, with the same row
        step = Step(call.token.term, call.number, call.offset, self._chains[partition], changed)
        try:
            await self._together.apply(self._part(partition), step, call.effects)
        except Refused as error:
            raise Stale(keys.group, partition, f"term {error.term} has claimed the read model") from error
        except BadChange as error:
            what = f"{call.effects[error.index].command} {call.effects[error.index].key}"
            raise CommitRefused("effect", error.index, error.why, what) from error
        reply = await commit(log, keys, replace(call, effects=()))
        for stream, row in changed.items():
            if row is None:
                kept.pop(stream, None)
            else:
                kept[stream] = row
        gone.clear()
        gone |= reply.gone & kept.keys()
        return reply

    def _part(self, partition: int) -> Part:
        return Part(self._generation.projection, self._generation.number, partition)

    async def _in_common(self, part: Part, found: Checkpoint, stored: Stored) -> Checkpoint:
        """The checkpoint, stepped back to what the log still has."""
        theirs = epochs.parse(stored.epochs)
        epoch, position = found.place
        if position == 0:
            return found
        if any(start.epoch == epoch for start in theirs):  # it names all of the history before it
            common = epochs.common_position_of(found.place, theirs, stored.head)
        else:
            common = epochs.common_position(epochs.parse(found.chain), theirs, position, stored.head)
        if common == position:
            return found
        lost = LostEvents(self._generation.group, part.partition, epoch, common + 1, position)
        await audit.record_lost(self._store, lost)
        await in_thread(self._sink.mark_diverged, part.projection, part.generation)
        logger.warning(
            "read_model_diverged", projection=part.projection, partition=part.partition, lost=position - common
        )
        return replace(found, place=(epochs.epoch_at(theirs, common), common))

    async def _follow(self, log: Log, keys: GroupKeys, token: Token, found: Checkpoint, stored: Stored) -> None:
        """Redis goes where the sink is."""
        rows: dict[str, Row | None] = {stream: None for stream in stored.rows if stream not in found.detached}
        rows |= found.detached
        await rewind(log, keys, Rewind(token, found.place, 0, rows=rows))
