"""Consumer groups as the ways in offer them, in the JSON shapes of all three."""

from consumers import groups
from consumers.groups import GroupPartitionShape, GroupShape, GroupSummary, MemberShape, PausedShape
from consumers.start import Start
from consumers.verify.groups import names_of_groups
from eventstore.store import EventStore
from gateway.moments import parse_moment

__all__ = [
    "GroupPartitionShape",
    "GroupShape",
    "GroupSummary",
    "MemberShape",
    "PausedShape",
    "count_groups",
    "create_group",
    "delete_group",
    "list_groups",
    "pause_group",
    "resume_group",
    "show_group",
]


async def list_groups(store: EventStore, *, limit: int | None) -> list[GroupSummary]:
    """The groups in order of their names, without what `show_group` tells of members and partitions."""
    return [each.summary for each in await groups.list_groups(store, limit=limit)]


async def count_groups(store: EventStore) -> int:
    """How many `verify` looks at: all of which anything is stored."""
    return len(await names_of_groups(store.log))


async def show_group(store: EventStore, group: str) -> GroupShape:
    """Members, leases, lag and failures of a group. Raises GroupNotFound."""
    return await groups.describe_group(store, group)


async def create_group(store: EventStore, group: str, *, start: str, who: str, why: str | None) -> GroupShape:
    """Makes a group that begins at `start`: earliest, latest, or a time. Raises WrongState if there is one."""
    match start:
        case "earliest" | "latest":
            begin = Start(start)
        case _:
            begin = Start(None, parse_moment(start, field="from"))
    return await groups.create_group(store, group, begin, who=who, why=why)


async def delete_group(store: EventStore, group: str, *, force: bool, who: str, why: str | None) -> GroupShape:
    """What it was. Raises GroupNotFound; WrongState if it has members, unless forced."""
    return await groups.delete_group(store, group, who=who, why=why, force=force)


async def pause_group(store: EventStore, group: str, *, who: str, why: str | None) -> GroupShape:
    """Nothing of it is handled until it is resumed. Raises GroupNotFound."""
    return await groups.pause_group(store, group, who=who, why=why)


async def resume_group(store: EventStore, group: str, *, who: str, why: str | None) -> GroupShape:
    """It goes on. Raises GroupNotFound."""
    return await groups.resume_group(store, group, who=who, why=why)
