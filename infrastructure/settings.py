"""Settings: an option of the command line, else the environment, else `config/app.yaml`, else the default in the code.

An empty text counts as not given, everywhere. The settings themselves are in `settings_schema.py`.
"""

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import fields, replace

from infrastructure.errors import SettingsError
from infrastructure.secrets import MASK, SECRETS_DIR, Secret, SecretUrl, find_secret, get_secret
from infrastructure.settings_schema import (
    SCHEMA,
    HttpClientSettings,
    LoggingSettings,
    LogSettings,
    OrchestratorSettings,
    PostgresSettings,
    RedisSettings,
    ServicesSettings,
    Setting,
    Settings,
    TelemetrySettings,
)

__all__ = [
    "EffectiveSetting",
    "HttpClientSettings",
    "LogSettings",
    "LoggingSettings",
    "OrchestratorSettings",
    "PostgresSettings",
    "RedisSettings",
    "Secret",
    "SecretUrl",
    "ServicesSettings",
    "Settings",
    "TelemetrySettings",
    "effective",
    "get_config_value",
    "get_secret",
    "load_settings",
]

CONFIG_ENV = "EVENTSTORE_CONFIG"
DEFAULT_FILE = Path("config/app.yaml")

# Ways to say where Redis is. The strongest source that says it is the one that counts: with REDIS_HOST in the
# environment, a `redis.url` of the file is not used.
_REDIS_PLACES = frozenset({"redis.url", "redis.sentinels", "redis.host", "redis.nodes"})


class EffectiveSetting(Struct, frozen=True):
    """One line of `eventstore config`; `value` is fit for JSON, a secret in it masked."""

    key: str
    value: object
    source: str
    env: str


class _Given(Struct, frozen=True):
    raw: object
    source: str


_Layer = dict[str, _Given]


def load_settings(
    environ: Mapping[str, str] = os.environ,
    file: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    secrets_dir: Path = SECRETS_DIR,
) -> Settings:
    """All settings, typed and checked.

    `file` goes before EVENTSTORE_CONFIG, this before `config/app.yaml` of the working directory, which need not exist.
    `overrides` are options of the command line by key (`{"redis.url": ...}`); None in it means not given.
    Raises SettingsError at the first value, key or file that is wrong.
    """
    sections: dict[str, dict[str, Any]] = {section.name: {} for section in fields(Settings)}
    for row, value, _ in _resolved(environ, file, overrides or {}, secrets_dir):
        sections[row.section][row.attribute] = value
    return Settings(**{section.name: section.type(**sections[section.name]) for section in fields(Settings)})


def effective(
    environ: Mapping[str, str] = os.environ,
    file: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    secrets_dir: Path = SECRETS_DIR,
) -> list[EffectiveSetting]:
    """Every setting with its source (`option`, `environment NAME`, `file PATH`, `default`), secrets masked."""
    return [
        EffectiveSetting(key=row.key, value=_shown(row, value), source=source, env=row.env)
        for row, value, source in _resolved(environ, file, overrides or {}, secrets_dir)
    ]


def get_config_value(
    key: str,
    default: Any = None,
    section: str | None = None,
    env_key: str | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    file: Path | None = None,
) -> Any:
    """One value: from the environment (`env_key`), the file (`key` in `section`), or `default`.

    A key of ours has its own type, environment name and default, which are used where the call gives none. Any other
    key lives in the environment only and takes the type of `default`. Reads the file at each call: for start-up.
    """
    name = f"{section}.{key}" if section else key
    row = SCHEMA.get(name)
    if row is None:
        return _foreign(name, env_key or key.upper(), default, environ)
    ours = replace(row, env=env_key or row.env)
    for layer in _layers([ours], environ, file, {}, SECRETS_DIR):
        if name in layer:
            return _typed(ours, layer[name])
    return row.default if default is None else default


def _foreign(name: str, env: str, default: Any, environ: Mapping[str, str]) -> Any:
    text = environ.get(env)
    if not text or default is None:
        return text or default
    try:
        return msgspec.convert(text, type(default), strict=False)
    except (ValueError, TypeError):
        raise _wrong(name, f"environment {env}", _excerpt(text), f"a value of type {type(default).__name__}") from None


def _resolved(
    environ: Mapping[str, str], file: Path | None, overrides: Mapping[str, object], secrets_dir: Path
) -> list[tuple[Setting, Any, str]]:
    layers = _layers(SCHEMA.values(), environ, file, overrides, secrets_dir)
    _keep_the_strongest(_REDIS_PLACES, layers)
    resolved = []
    for row in SCHEMA.values():
        given = next((layer[row.key] for layer in layers if row.key in layer), None)
        value, source = (_typed(row, given), given.source) if given else (row.default, "default")
        resolved.append((row, value, source))
    return resolved


def _layers(
    rows: Iterable[Setting],
    environ: Mapping[str, str],
    file: Path | None,
    overrides: Mapping[str, object],
    secrets_dir: Path,
) -> list[_Layer]:
    """What each source gives, the strongest first."""
    path = _file_path(environ, file)
    return [_options(overrides), _environment(rows, environ, secrets_dir), _in_file(path) if path else {}]


def _in_file(path: Path) -> _Layer:
    from infrastructure.settings_file import read_settings_file  # PyYAML: 45 ms, only where there is a file

    return {key: _Given(raw, f"file {path}") for key, raw in read_settings_file(path).items()}


def _file_path(environ: Mapping[str, str], file: Path | None) -> Path | None:
    named = file or (Path(environ[CONFIG_ENV]) if environ.get(CONFIG_ENV) else None)
    return named or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)


def _options(overrides: Mapping[str, object]) -> _Layer:
    for key in overrides:
        if key not in SCHEMA:
            nearest = get_close_matches(key, SCHEMA, n=1, cutoff=0.0)[0]
            raise SettingsError(f"unknown key {key}; the nearest right name is {nearest}", field=key)
    return {key: _Given(raw, "option") for key, raw in overrides.items() if raw is not None and raw != ""}


def _environment(rows: Iterable[Setting], environ: Mapping[str, str], secrets_dir: Path) -> _Layer:
    layer = {}
    for row in rows:
        if row.kind.secret:
            if found := find_secret(row.env, environ, secrets_dir):
                layer[row.key] = _Given(*found)
        elif text := environ.get(row.env):
            layer[row.key] = _Given(text, f"environment {row.env}")
    return layer


def _keep_the_strongest(alternatives: frozenset[str], layers: list[_Layer]) -> None:
    decided = False
    for layer in layers:
        here = alternatives & layer.keys()
        if decided:
            for key in here:
                del layer[key]
        decided = decided or bool(here)


def _typed(row: Setting, given: _Given) -> Any:
    parse = row.kind.parse
    try:
        value = parse(given.raw) if parse and isinstance(given.raw, str) else given.raw
        return msgspec.convert(value, row.type, strict=False)
    except ValueError:  # its text, and a chained traceback, would hold the value
        shown = MASK if row.kind.secret else _excerpt(given.raw)
        raise _wrong(row.key, given.source, shown, row.kind.expects) from None


def _wrong(key: str, source: str, shown: str, expected: str) -> SettingsError:
    return SettingsError(
        f"{key} is {shown}, from {source}; expected {expected}",
        field=key,
        facts={"key": key, "source": source, "value": shown, "expected": expected},
    )


def _excerpt(raw: object) -> str:
    """A value as an error may show it: short, and no URL that may carry a password into a key not made for one."""
    text = str(raw)
    if "://" in text and ("@" in text or "?" in text):
        return MASK
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _shown(row: Setting, value: Any) -> object:
    if value is None:
        return None
    if row.kind.show:
        return row.kind.show(value)
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, (Secret, Path)) else value
