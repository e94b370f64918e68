"""Where the truth about a group is kept: how far each partition is finished, and which streams have left the main pass.

For consumers it is Redis. A projection keeps it beside its rows, so that both change in one transaction; what Redis
has then is a copy, by which the group is seen and steered like any other.
"""

from typing import Protocol

from consumers.commit_call import commit
from consumers.keys import GroupKeys
from consumers.state import Commit, Committed, Stored, Token
from eventstore.log import Log


class TakeAnew(Exception):
    """The lease is to be taken once more, with a term above `term`."""

    def __init__(self, term: int = 0) -> None:
        self.term = term
        super().__init__(f"a term above {term} is needed")


class Truth(Protocol):
    """Of one group."""

    async def claim(self, log: Log, keys: GroupKeys, token: Token, stored: Stored) -> Stored:
        """For whoever has just taken the lease: what is true, and nobody with a lower term can change it any more.
        Raises TakeAnew; Unavailable."""

    async def commit(self, log: Log, keys: GroupKeys, call: Commit) -> Committed:
        """All of it or nothing; the same call again changes nothing. Raises as `commit_call.commit` does."""


class InRedis:
    async def claim(self, log: Log, keys: GroupKeys, token: Token, stored: Stored) -> Stored:
        return stored

    async def commit(self, log: Log, keys: GroupKeys, call: Commit) -> Committed:
        return await commit(log, keys, call)


IN_REDIS = InRedis()
