"""Read `config/app.yaml`. Every scalar is kept as the text that was written; the schema alone gives it a type.

So `on` stays `on`, `012` stays `012`, `12:30:00` stays `12:30:00`, a password of digits keeps its zeros, and a value
means the same here as in the environment. Errors name places, never values: PyYAML's own messages quote the text.
"""

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path

import yaml

from infrastructure.errors import SettingsError
from infrastructure.settings_schema import SCHEMA

_NOTHING = {"", "~", "null", "Null", "NULL"}
_SECTIONS = {row.section for row in SCHEMA.values()}


def read_settings_file(path: Path) -> dict[str, str | list[str]]:
    """What the file sets: `section.key` -> text, or list of texts. Raises SettingsError, also for an unknown key."""
    found: dict[str, str | list[str]] = {}
    for section, body in _entries(path, _tree(path), ""):
        _must_be_known(path, section, section.value, _SECTIONS, "section")
        if _is_nothing(body):
            continue
        for name, node in _entries(path, body, section.value):
            key = f"{section.value}.{name.value}"
            _must_be_known(path, name, key, SCHEMA.keys(), "key")
            if not _is_nothing(node):
                found[key] = _value(path, node, key)
    return found


def _tree(path: Path) -> yaml.Node:
    try:
        tree = yaml.compose(path.read_text("utf-8"), Loader=yaml.BaseLoader)
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read: {error.strerror}",
            field=str(path),
            remedy="name a settings file that is there: --config FILE or EVENTSTORE_CONFIG",
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8 text", field=str(path)) from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SettingsError(f"{path} is not valid YAML{place}", field=str(path)) from None
    return tree or yaml.MappingNode("tag:yaml.org,2002:map", [])


def _entries(path: Path, node: yaml.Node, name: str) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    """The pairs of a mapping, once each: PyYAML itself lets the last of two equal keys win."""
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(path, node, f"{name or 'the file'} must hold `key: value` lines")
    seen: set[str] = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _wrong(path, key, "a key must be plain text")
        if key.value in seen:
            raise _wrong(path, key, f"{name and name + '.'}{key.value} is given twice")
        seen.add(key.value)
        yield key, value


def _must_be_known(path: Path, node: yaml.Node, name: str, known: Collection[str], what: str) -> None:
    if name in known:
        return
    nearest = get_close_matches(name, known, n=1, cutoff=0.0)
    raise _wrong(path, node, f"unknown {what} {name}", f"the nearest right name is {nearest[0]}")


def _value(path: Path, node: yaml.Node, key: str) -> str | list[str]:
    if isinstance(node, yaml.ScalarNode):
        return _text(path, node, key)
    if isinstance(node, yaml.SequenceNode):
        return [_text(path, item, key) for item in node.value]
    raise _wrong(path, node, f"{key} must be one value or a list of them")


def _text(path: Path, node: yaml.Node, key: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _wrong(path, node, f"{key} must be one value or a list of them")
    if node.tag != "tag:yaml.org,2002:str":
        raise _wrong(path, node, f"{key} carries a tag, which would be ignored", "write the value without it")
    return str(node.value)


def _is_nothing(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and (not node.value or (node.style is None and node.value in _NOTHING))


def _wrong(path: Path, node: yaml.Node, problem: str, remedy: str | None = None) -> SettingsError:
    line = node.start_mark.line + 1
    detail = f"{path}, line {line}: {problem}" + (f"; {remedy}" if remedy else "")
    return SettingsError(detail, field=str(path), remedy=remedy, facts={"line": line})
