"""Whether a worker knows the definitions of all sagas that live."""

from collections import Counter
from functools import partial
from itertools import pairwise

from consumers.keys import effect_key
from consumers.sagas.errors import UnknownSagaVersion
from consumers.sagas.groups import react_group
from consumers.sagas.index import LIVE
from consumers.sagas.saga import Saga
from eventstore.log import Log
from infrastructure.patience import replies
from infrastructure.tasks import together

PAGE = 1_000


async def refuse_unknown_versions(log: Log, saga: Saga) -> None:
    """Raises UnknownSagaVersion if a saga of this type lives that was started under a version which is neither this
    definition's, nor one of its earlier ones', nor can be migrated."""
    known = sorted({each.version for each in saga.versions} | set(saga.migrations))
    found = await together([partial(_unknown, log, saga.name, known, p) for p in range(log.partitions)])
    unknown = sum(found, Counter[int]())
    if unknown:
        raise UnknownSagaVersion(saga.name, dict(unknown))


async def _unknown(log: Log, saga: str, known: list[int], partition: int) -> Counter[int]:
    """How many live of each version between the known ones. (ZRANGE is a right that workers have, ZCOUNT is none.)"""
    key = effect_key(log.keys, react_group(saga), partition, LIVE)
    found: Counter[int] = Counter()
    for low, high in pairwise(["-inf", *(f"({version}" for version in known), "+inf"]):
        seen, page = 0, PAGE
        while page == PAGE:
            words = ("ZRANGE", key, low, high, "BYSCORE", "LIMIT", seen, PAGE, "WITHSCORES")
            (flat,) = await replies(log.redis, key, words)
            found.update(round(float(version)) for version in flat[1::2])
            page = len(flat) // 2
            seen += page
    return found
