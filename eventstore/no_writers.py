"""What stands in the place of the writers where the user may only read."""

from typing import NoReturn

from eventstore.append import Append
from eventstore.errors import Unavailable


class NoWriters:
    """Refuses before anything is sent: a script that is stopped at a write cannot tell that it was the first."""

    async def commit(self, append: Append, timeout_seconds: float) -> NoReturn:
        raise Unavailable(
            f"this user may not append to {append.stream}: it may only read",
            reason="permission",
            remedy="grant this user the commands that write, or use another: eventstore doctor names them",
        )

    def close(self) -> None:
        """There is nothing to wait for."""
