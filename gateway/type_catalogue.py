"""The event types of a module, and the file that the next release is compared with."""

from pathlib import Path

from msgspec import Struct

from eventstore.catalogue import (
    FORMAT,
    Catalogue,
    Change,
    Schema,
    changes,
    describe,
    fields_of,
    from_text,
    taken_by,
    to_text,
)
from eventstore.event_types import EventTypes
from gateway.errors import BadRequest
from gateway.modules import event_types_of
from gateway.whole_file import whole_file


class TypeShape(Struct, frozen=True):
    """An event type. `fields` are written as people write types; `json_schema` is for other tools."""

    type: str
    schema_version: int
    upcasts_from: list[int]
    formerly: list[str]
    defined_as: str
    fields: dict[str, str]
    json_schema: Schema


class Checked(Struct, frozen=True):
    """What a file and the code have in common. `exact`: the file is what would be written now."""

    types: int
    changes: list[Change]
    exact: bool

    @property
    def breaking(self) -> bool:
        return any(each.breaking for each in self.changes)


def type_shapes(module: str) -> list[TypeShape]:
    """The event types that a module defines, by name."""
    types = EventTypes(event_types_of(module))
    entries = {each.name: each for each in describe(types).types}
    return [
        TypeShape(
            type=each.name,
            schema_version=each.version,
            upcasts_from=sorted(each.upcasters),
            formerly=list(each.formerly),
            defined_as=f"{each.struct.__module__}.{each.struct.__qualname__}",
            fields=fields_of(entries[each.name]),
            json_schema=entries[each.name].schema,
        )
        for each in sorted(types, key=lambda each: each.name)
    ]


def check_types(text: bytes, name: str, module: str) -> Checked:
    """The catalogue in a file of that name, compared with a module. Raises InvalidRequest for another file."""
    return _compared(text, name, module)[0]


def write_types(file: Path, module: str, *, breaking: bool) -> tuple[Checked, bool]:
    """Writes the catalogue of a module, whole or not at all, unless something in it would break what the file lists
    and is not meant to (`breaking`). Returns what has changed, and whether the file was written."""
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        text = to_text(Catalogue(FORMAT, ())).encode()
    except OSError as error:
        raise BadRequest(f"{file} cannot be read: {error.strerror}", field="FILE", remedy="name a file") from error
    done, now = _compared(text, str(file), module)
    written, there = not done.breaking or breaking, file.exists()
    if written and not (done.exact and there):
        _replace(file.resolve(), to_text(now), file.stat().st_mode & 0o777 if there else None)
    return done, written


def _compared(text: bytes, name: str, module: str) -> tuple[Checked, Catalogue]:
    """And the catalogue of the module as it is now."""
    listed, types = from_text(text, name), EventTypes(event_types_of(module))
    now = describe(types)
    return Checked(len(now.types), changes(listed, now, taken_by(types)), listed == now), now


def _replace(file: Path, text: str, mode: int | None) -> None:
    with whole_file(file, field="FILE", mode=mode, remedy="a file in a folder that you may write") as beside:
        beside.write(text.encode())
