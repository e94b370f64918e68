"""Which member of a group should have which partition. Every member computes it for itself, from what all can see.

Balanced: no member has two partitions more than another. Cooperative: of all balanced assignments it is one that takes
the fewest partitions from members that live. What that leaves open, rendezvous hashing decides: of those who may have
a partition, the one whose name and the partition's number give the highest hash (Thaler and Ravishankar, 1998). So who
comes to the same list of members and owners comes to the same answer, and half-way through a change, with some of the
partitions handed over, the rest of it is still the same number of moves.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b


def assign(partitions: int, members: Sequence[str], owners: Mapping[int, str], *, salt: str = "") -> dict[int, str]:
    """The member for each partition; nothing where there are no members. `owners` are those who hold a lease now, and
    count as far as they are among the members. With another `salt`, such as the group's name, the same members do not
    get the same partitions, nor the same member always one more."""
    names = sorted(set(members))
    if not names:
        return {}
    share, extra = divmod(partitions, len(names))
    owned = {name: sorted(p for p in range(partitions) if owners.get(p) == name) for name in names}
    more = _with_one_more(owned, share, extra, salt)
    kept = {name: _kept(name, owned[name], share + (name in more), salt) for name in names}
    found = {p: name for name in names for p in kept[name]}
    counts = {name: len(kept[name]) for name in names}
    spare = extra - sum(count > share for count in counts.values())
    for p in range(partitions):
        if p not in found:
            room = [name for name in names if counts[name] < share + (spare > 0)]
            found[p] = taker = max(room, key=lambda name: _weight(name, p, salt))
            spare -= counts[taker] == share
            counts[taker] += 1
    return dict(sorted(found.items()))


def _with_one_more(owned: Mapping[str, Sequence[int]], share: int, extra: int, salt: str) -> set[str]:
    """Who may keep more than the share, because it has more: as many as there are partitions beyond the shares. Which
    of them must not depend on how many partitions each has handed over so far."""
    candidates = [name for name, partitions in owned.items() if len(partitions) > share]
    return set(sorted(candidates, key=lambda name: _weight(name, -1, salt), reverse=True)[:extra])


def _kept(name: str, partitions: Sequence[int], most: int, salt: str) -> Sequence[int]:
    if len(partitions) <= most:
        return partitions
    return sorted(partitions, key=lambda p: _weight(name, p, salt), reverse=True)[:most]


def _weight(name: str, partition: int, salt: str) -> bytes:
    """Not crc32, by which all members of names of one length would come out in the same order for most partitions."""
    return blake2b(f"{partition} {name} {salt}".encode(), digest_size=8).digest()
