"""Whether the user of the server may run all commands that the scripts of groups do."""

from consumers.scripted import ask
from eventstore.errors import Unavailable
from eventstore.log import Log
from infrastructure import lua

_probe = lua.load("consumers", "probe")


async def check_rights(log: Log) -> None:
    """Asks before anything is written: a script that meets a command that it may not run stops midway. Raises
    Unavailable, which names what is missing."""
    missing = sorted({name.decode() for name in await ask(log, _probe, [log.keys.probe(0)], [])})
    if missing:
        raise Unavailable(
            f"this user may not run: {', '.join(missing)}",
            reason="permission",
            remedy=f"ACL SETUSER <user> {' '.join(f'+{name}' for name in missing)}",
        )
