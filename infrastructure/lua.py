"""Lua scripts: one file per operation, read once, called by hash; a server that has lost its cache gets the source.

A line `-- include NAME.lua` stands for that file of the same folder, `-- include PACKAGE/NAME.lua` for one of another
package: what several scripts share.
"""

import re
from collections.abc import Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import TYPE_CHECKING

from msgspec import Struct

from infrastructure.errors import Unavailable
from infrastructure.refusals import code_of

if TYPE_CHECKING:
    from infrastructure.connect import Command, Redis, Reply
    from infrastructure.pools import Sending


_INCLUDE = re.compile(r"^-- include (?:([a-z_]+)/)?([a-z_]+\.lua)$", re.MULTILINE)


class Script(Struct, frozen=True):
    """A script, and the hash by which a server knows it."""

    name: str
    source: str
    sha: str


@cache
def load(package: str, name: str) -> Script:
    """The script `scripts/<name>.lua` of `package`, from its folder or its wheel. Raises FileNotFoundError."""
    source = _text(package, f"{name}.lua")
    return Script(name, source, sha1(source.encode(), usedforsecurity=False).hexdigest())


def _text(package: str, file: str) -> str:
    """A file with what it includes in its place."""
    source = files(package).joinpath("scripts", file).read_text("utf-8")
    return _INCLUDE.sub(lambda line: _text(line[1] or package, line[2]), source)


async def call(
    redis: "Redis",
    script: Script,
    keys: Sequence[str],
    args: Sequence[str | bytes | int],
    *then: "Command",
    longer_by: float = 0.0,
) -> "list[Reply]":
    """Run `script` where `keys[0]` is served, then the commands `then` (WAIT, WAITAOF) on the same connection.

    The script's own ResponseError stays in its place, the first. `longer_by` is the time in seconds that `then` may
    wait at the server. A script that the server does not know has surely not run, so it is sent once more, in full.
    """
    return await call_all(redis, script, [(keys, args)], *then, longer_by=longer_by)


async def call_all(
    redis: "Redis",
    script: Script,
    calls: "Sequence[tuple[Sequence[str], Sequence[str | bytes | int]]]",
    *then: "Command",
    longer_by: float = 0.0,
    sending: "Sending | None" = None,
) -> "list[Reply]":
    """`call` for several (keys, args) at once, written together and run one after the other: a reply for each, then
    those of `then`. All keys must be served by one server. `sending` tells meanwhile what is in doubt."""
    first_key = calls[0][0][0]
    rests = [(len(keys), *keys, *args) for keys, args in calls]
    replies = await redis.run(
        first_key,
        *[("EVALSHA", script.sha, *rest) for rest in rests],
        *then,
        longer_by=longer_by,
        sending=sending,
    )
    unknown = [i for i in range(len(calls)) if _is_unknown(replies[i])]
    if unknown:
        others_ran = len(unknown) < len(calls)
        if sending is not None:
            sending.in_doubt = others_ran
        again = [("EVAL", script.source, *rests[i]) for i in unknown]
        try:
            answers = await redis.run(first_key, *again, *then, longer_by=longer_by, sending=sending)
        except Unavailable as error:
            error.maybe_ran = error.maybe_ran or others_ran
            raise
        for place, answer in zip((*unknown, *range(len(calls), len(replies))), answers, strict=True):
            replies[place] = answer
    return replies


def _is_unknown(reply: "Reply") -> bool:
    return isinstance(reply, Exception) and code_of(reply) == "NOSCRIPT"
