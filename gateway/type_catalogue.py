"""The event types of a module, and the file that the next release is compared with."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

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
    listed, types = from_text(text, name), EventTypes(event_types_of(module))
    now = describe(types)
    return Checked(len(now.types), changes(listed, now, taken_by(types)), listed == now)


def write_types(file: Path, module: str, *, breaking: bool) -> tuple[Checked, bool]:
    """Writes the catalogue of a module, whole or not at all, unless something in it would break what the file lists
    and is not meant to (`breaking`). Returns what has changed, and whether the file was written."""
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        text = to_text(Catalogue(FORMAT, ())).encode()
    except OSError as error:
        raise BadRequest(f"{file} cannot be read: {error.strerror}", field="FILE", remedy="name a file") from error
    done = check_types(text, str(file), module)
    written = not done.breaking or breaking
    if written and not (done.exact and file.exists()):
        _replace(file.resolve(), to_text(describe(EventTypes(event_types_of(module)))))
    return done, written


def _replace(file: Path, text: str) -> None:
    try:
        mode = file.stat().st_mode & 0o777 if file.exists() else 0o666 & ~_umask()
        with NamedTemporaryFile(
            "w", dir=file.parent, prefix=f".{file.name}.", encoding="utf-8", delete=False
        ) as beside:
            temporary = Path(beside.name)
            beside.write(text)
        try:
            temporary.chmod(mode)
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise BadRequest(
            f"{file} cannot be written: {error.strerror}", field="FILE", remedy="a file in a folder that you may write"
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
