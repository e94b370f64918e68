"""Asks before what cannot be undone."""

import sys

from gateway.cli.manners.session import Session
from gateway.errors import BadRequest


async def confirmed(session: Session, question: str, *, yes: bool) -> bool:
    """Whether the person at the terminal says yes; `yes` answers beforehand. `question` states what is lost, and how
    many. Raises BadRequest where nobody can be asked."""
    if yes:
        return True
    if session.flags.no_input or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadRequest(
            "this cannot be undone, and nobody is here to be asked", field="--yes", remedy="--yes answers beforehand"
        )
    from anyio import wait_readable

    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    await wait_readable(sys.stdin)  # so that Ctrl-C ends it
    if sys.stdin.readline().strip().lower() in {"y", "yes"}:
        return True
    session.note("nothing was done")
    return False
