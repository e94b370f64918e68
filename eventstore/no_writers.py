"""What stands in the place of the writers where a store only reads."""

from typing import NoReturn

from eventstore.append import Append
from eventstore.errors import Unavailable


class NoWriters:
    """Refuses before anything is sent: a script that is stopped at a write cannot tell that it was the first."""

    def __init__(self, *, by_choice: bool) -> None:
        """`by_choice`: the store was opened so. Else its user may only read."""
        self._by_choice = by_choice

    async def commit(self, append: Append, timeout_seconds: float) -> NoReturn:
        self.refuse(append.stream)

    def refuse(self, stream: str) -> NoReturn:
        if self._by_choice:
            raise Unavailable(
                f"nothing is appended to {stream} by a store that was opened with read_only=True",
                reason="permission",
                remedy="open another one to append, without read_only",
            )
        raise Unavailable(
            f"this user may not append to {stream}: it may only read",
            reason="permission",
            remedy="grant this user the commands that write, or use another: eventstore doctor names them",
        )

    def close(self) -> None:
        """There is nothing to wait for."""


def promises_refused() -> Unavailable:
    """What a reader of the merged order is told whose user may not write what that order is made of."""
    return Unavailable(
        "this user may not follow the merged order: it asks partitions without news for a promise, which needs hset",
        reason="permission",
        remedy="ACL SETUSER <user> +hset, or follow in order of arrival: --order partition",
    )
