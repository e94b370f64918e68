"""From stream name to partition, and from partition to the hash tag that keeps its keys in one slot."""

from binascii import crc_hqx
from functools import lru_cache
from zlib import crc32

SLOTS = 16384


def partition_of(stream: str, partitions: int) -> int:
    """The partition of a stream. Text in braces is hashed instead of the whole name, as in a Redis Cluster."""
    return crc32(_hashed_part(stream).encode()) % partitions


def _hashed_part(stream: str) -> str:
    start = stream.find("{")
    if start < 0:
        return stream
    end = stream.find("}", start + 1)
    return stream[start + 1 : end] if end > start + 1 else stream


@lru_cache(maxsize=32)
def hash_tags(partitions: int) -> tuple[str, ...]:
    """One tag a partition, each in its own equal share of the slots, so that partitions spread over a Cluster."""
    return tuple(_tag(p, partitions) for p in range(partitions))


def _tag(partition: int, partitions: int) -> str:
    low, high = partition * SLOTS // partitions, (partition + 1) * SLOTS // partitions
    k = 0
    while not low <= slot_of(f"log.{partition}.{k}") < high:
        k += 1
    return f"log.{partition}.{k}"


def slot_of(text: str) -> int:
    """The Cluster slot of a key or tag without braces (CRC16/XMODEM, as the Cluster specification has it)."""
    return crc_hqx(text.encode(), 0) % SLOTS
