"""What a user's module defines: event types, consumers, sagas, projections, and the resources that these want."""

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from gateway.errors import BadRequest
from infrastructure.errors import EventStoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumers import Resource, Saga
    from consumers.runnable import Runnable
    from projections import Projection

T = TypeVar("T")
_DATABASES = "pip install 'redis-eventstore[sql]'"


def event_types_of(name: str) -> list[type[Struct]]:
    """The Structs of a module that are events: those named by `@event`, and the public ones that it defines itself.
    Raises BadRequest if it cannot be imported, naming the reason. Modules are also looked for in the current folder."""
    module = _imported(name)
    public = {key: value for key, value in vars(module).items() if not key.startswith("_")}
    found = [value for value in public.values() if isinstance(value, type) and issubclass(value, Struct)]
    return list(dict.fromkeys(each for each in found if _is_event(each, module)))


def consumers_of(name: str) -> "tuple[list[Runnable], list[Resource]]":
    """The consumers of a module, also those that it has imported, its sagas and projections, and the resources that it
    defines. Raises BadRequest if it cannot be imported."""
    from consumers import Consumer, Resource

    module = _imported(name)
    return [*_values(module, Consumer), *_sagas(module), *_projections(module)], _values(module, Resource)


def projections_of(name: str) -> "list[Projection]":
    """The projections of a module, also those that it has imported. Raises BadRequest if it cannot be imported."""
    return _projections(_imported(name))


def read_models_of_system() -> "tuple[Projection, ...]":
    """The built-in ones. Raises BadRequest if what they need is not installed."""
    need_databases()
    from projections.system import SYSTEM

    return SYSTEM


def need_databases() -> None:
    """Raises BadRequest if what read models need is not installed."""
    if find_spec("sqlalchemy") is None:
        raise BadRequest("read models need more than is installed", remedy=_DATABASES)


def saga_of(text: str) -> "Saga":
    """The saga that `MODULE` or `MODULE:TYPE` defines. Raises BadRequest."""
    name, _, kind = text.partition(":")
    found = {each.name: each for each in _sagas(_imported(name, field="MODULE"))}
    if kind and kind not in found:
        raise BadRequest(f"module {name} has no saga {kind}", field="MODULE", remedy=_one_of(name, found))
    if not kind and len(found) != 1:
        what = f"{len(found)} sagas" if found else "no saga"
        raise BadRequest(f"module {name} has {what}", field="MODULE", remedy=_one_of(name, found))
    return found[kind] if kind else next(iter(found.values()))


def _sagas(module: ModuleType) -> "list[Saga]":
    """Those that are no earlier version of another."""
    from consumers import Saga

    found = _values(module, Saga)
    earlier = {id(each) for saga in found for each in saga.earlier}
    return [each for each in found if id(each) not in earlier]


def _one_of(module: str, found: "dict[str, Saga]") -> str:
    names = " or ".join(f"{module}:{kind}" for kind in sorted(found))
    return f"name one: {names}" if found else 'name the module that defines it: ingestion = Saga("ingestion", data=...)'


def _projections(module: ModuleType) -> "list[Projection]":
    """Who has one has loaded what it is made by, which takes a while: it is not loaded for others."""
    if "projections.projection" not in sys.modules:
        return []
    from projections import Projection

    return _values(module, Projection)


def told(value: "Runnable") -> str:
    """How a consumer, a saga or a projection is called to people."""
    from consumers import Consumer, Saga

    if isinstance(value, Consumer):
        return value.name
    return f"saga {value.name}" if isinstance(value, Saga) else f"projection {value.name}"


def groups_of(value: "Runnable") -> list[str]:
    """The groups of a consumer, or a saga; of a projection what those of its generations begin with."""
    from consumers import Consumer, Saga
    from consumers.group_name import PROJECTIONS
    from consumers.sagas.groups import group_names_of

    if isinstance(value, Consumer):
        return [value.name]
    return group_names_of(value) if isinstance(value, Saga) else [f"{PROJECTIONS}{value.name}"]


def summary_of(values: "Sequence[Runnable]") -> dict[str, list[str]]:
    """What runs, for --json."""
    from consumers import Consumer, Saga

    grouped = [each for each in values if isinstance(each, Consumer | Saga)]
    others = [each for each in values if not isinstance(each, Consumer | Saga)]
    return {
        "groups": [name for each in grouped for name in groups_of(each)],
        "projections": [each.name for each in others],
    }


def _values(module: ModuleType, kind: type[T]) -> list[T]:
    """Each once, whatever its names."""
    values = [value for value in vars(module).values() if isinstance(value, kind)]
    return list({id(value): value for value in values}.values())


def _is_event(struct: type[Struct], module: ModuleType) -> bool:
    return struct is not Struct and ("__event_type__" in vars(struct) or struct.__module__ == module.__name__)


def _imported(name: str, field: str = "--app") -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does; a console script does not
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a user's module may raise anything, or exit, while it is imported
        raise BadRequest(
            f"module {name} cannot be imported: {type(error).__name__}: {error}",
            field=field,
            remedy=_remedy(error, name),
        ) from error


def _remedy(error: BaseException, name: str) -> str:
    if isinstance(error, EventStoreError) and error.remedy:
        return error.remedy
    if isinstance(error, ModuleNotFoundError) and error.name in {"sqlalchemy", "psycopg"}:
        return _DATABASES
    if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
        return "give it as in `import`, such as shop.events, and run where it can be found"
    return "see where: the same with --verbose"
