"""Whether a worker knows the definitions of all sagas that live."""

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


async def refuse_unknown_versions(log: Log, saga: Saga) -> None:
    """Raises UnknownSagaVersion if a saga of this type lives that was started under a version which is neither this
    definition's, nor one of its earlier ones', nor can be migrated."""
    known = sorted({each.version for each in saga.versions} | set(saga.migrations))
    found = await together([partial(_unknown, log, saga.name, known, p) for p in range(log.partitions)])
    unknown: dict[int, int] = {}
    for each in found:
        for version, count in each.items():
            unknown[version] = unknown.get(version, 0) + count
    if unknown:
        raise UnknownSagaVersion(saga.name, unknown)


async def _unknown(log: Log, saga: str, known: list[int], partition: int) -> dict[int, int]:
    """For each gap between known versions the lowest one in it, with the number of sagas there."""
    key = effect_key(log.keys, react_group(saga), partition, LIVE)
    gaps = list(pairwise(["-inf", *(f"({version}" for version in known), "+inf"]))
    counts = await replies(log.redis, key, *(("ZCOUNT", key, *gap) for gap in gaps))
    found = {}
    for gap, count in zip(gaps, counts, strict=True):
        if count:
            (first,) = await replies(log.redis, key, ("ZRANGEBYSCORE", key, *gap, "WITHSCORES", "LIMIT", 0, 1))
            found[round(float(first[1]))] = int(count)
    return found
