"""From the catalogue of one release to the next: what would make stored events unreadable, and what is only worth a
note.

Beside the rules for schemas (rules.py), which hold within one version:

    rule                  breaks when
    type-removed          no type has the name, and none had it before
    former-name-removed   a former name belongs to no type, or to another one
    version-lowered       the version is below the listed one
    upcaster-removed      no upcaster leads on from a version that was or may have been stored
    upcaster-misfit       the Struct that the upcaster of the listed version takes does not fit what is listed

    type-added, type-renamed, version-raised: notes
"""

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from eventstore.catalogue.catalogue import Catalogue, TypeEntry
from eventstore.catalogue.difference import Difference
from eventstore.catalogue.rules import differences
from eventstore.catalogue.schemas import Schema, schema_of
from eventstore.event_types import EventType

Taken = Mapping[tuple[str, int], Schema]
"""What typed upcasters take, by the present name of the type and the version from which they lead."""


class Change(Struct, frozen=True):
    """One change, by the name that the type has now. `breaking`: stored events cannot be read, or not wholly."""

    type: str
    field: str | None
    rule: str
    detail: str
    breaking: bool
    remedy: str | None


def changes(old: Catalogue, new: Catalogue, taken: Taken | None = None) -> list[Change]:
    """What changed from a release to a later one, what breaks first, then by type."""
    by_name = {name: each for each in new.types for name in each.names}
    found: list[Change] = []
    for entry in old.types:
        now = by_name.get(entry.name)
        found += [_removed(entry)] if now is None else _changed(entry, now, by_name, taken or {})
    listed = {name for each in old.types for name in each.names}
    found += [_note(each, "type-added", f"version {each.version}") for each in new.types if not each.names & listed]
    return sorted(found, key=lambda each: (not each.breaking, each.type))


def taken_by(types: Iterable[EventType]) -> dict[tuple[str, int], Schema]:
    """The schemas that typed upcasters take."""
    return {
        (each.name, number): schema_of(step.takes, each.name)
        for each in types
        for number, step in each.upcasters.items()
        if step.takes is not None
    }


def _removed(old: TypeEntry) -> Change:
    remedy = f"keep its Struct as long as events of it are stored; if it was renamed, formerly=({old.name!r},)"
    return Change(old.name, None, "type-removed", f"version {old.version} was listed", True, remedy)


def _changed(old: TypeEntry, new: TypeEntry, by_name: Mapping[str, TypeEntry], taken: Taken) -> Iterator[Change]:
    if old.name != new.name:
        yield _note(new, "type-renamed", f"it was {old.name}")
    for former in sorted(name for name in old.formerly if by_name.get(name) is not new):
        yield _breaks(new, "former-name-removed", f"events are stored as {former}", f"formerly=({former!r}, ...)")
    yield from _versions(old, new, taken)
    if old.version == new.version:
        for each in differences(old.schema, new.schema):
            yield Change(new.name, each.path or None, each.rule, each.detail, each.breaking, _remedy(each, new.version))


def _versions(old: TypeEntry, new: TypeEntry, taken: Taken) -> Iterator[Change]:
    if new.version < old.version:
        yield _breaks(
            new,
            "version-lowered",
            f"it is {new.version}, events of version {old.version} are stored",
            f"set the version to {old.version} or higher",
        )
        return
    least = min(new.oldest, new.version)
    if least > old.oldest:
        yield _breaks(
            new,
            "upcaster-removed",
            f"no upcaster leads from version {old.oldest}; {_span(old)} may be stored",
            f"oldest={old.oldest}, and an upcaster from each version on",
        )
        return
    if new.version > old.version:
        yield _note(new, "version-raised", f"{old.version} became {new.version}, with upcasters")
        wanted = taken.get((new.name, old.version))
        for each in differences(old.schema, wanted) if wanted is not None else ():
            if each.breaking:
                yield _misfit(each, old, new)


def _misfit(found: Difference, old: TypeEntry, new: TypeEntry) -> Change:
    return Change(
        new.name,
        found.path or None,
        "upcaster-misfit",
        f"the upcaster from version {old.version} takes another Struct than is listed: {found.rule}: {found.detail}",
        True,
        f"let it take what version {old.version} was, or a dict",
    )


def _span(old: TypeEntry) -> str:
    return f"versions {old.oldest} to {old.version}" if old.oldest < old.version else f"version {old.version}"


def _remedy(found: Difference, version: int) -> str | None:
    if not found.breaking:
        return None
    undo = {"field-required": "give it a default, or ", "fields-forbidden": "allow them, or "}.get(found.rule, "")
    return f"{undo}raise the version: @event(version={version + 1}, upcasters={{..., {version}: from_old_data}})"


def _breaks(new: TypeEntry, rule: str, detail: str, remedy: str) -> Change:
    return Change(new.name, None, rule, detail, True, remedy)


def _note(new: TypeEntry, rule: str, detail: str) -> Change:
    return Change(new.name, None, rule, detail, False, None)
