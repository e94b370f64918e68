"""`config/app.yaml`: texts are kept as written, mistakes are named with their place."""

from pathlib import Path

import pytest
import yaml

from infrastructure.errors import SettingsError
from infrastructure.secrets import Secret
from infrastructure.settings import Settings, load_settings
from infrastructure.settings_schema import SCHEMA
from tests.support.settings_files import written

pytestmark = pytest.mark.usefixtures("empty_folder")

APP_YAML = Path(__file__).parents[3] / "config" / "app.yaml"


def test_app_yaml_documents_every_setting_and_holds_the_defaults() -> None:
    assert load_settings({}, APP_YAML) == Settings()
    text = APP_YAML.read_text("utf-8")
    listed = [f"{section}.{name}" for section, body in yaml.safe_load(text).items() for name in body]
    assert listed == list(SCHEMA)
    assert [row.env for row in SCHEMA.values() if f"# {row.env} " not in f"{text} ".replace("\n", " \n")] == []


def test_the_file_may_be_empty_and_so_may_a_section() -> None:
    assert load_settings({}, written("")) == Settings()
    assert load_settings({}, written("# nothing\nredis:\nlogging: null\n")) == Settings()


@pytest.mark.parametrize("nothing", ["", "~", "null", "''", '""'])
def test_null_and_empty_mean_unset_in_the_file(nothing: str) -> None:
    assert load_settings({}, written(f"redis:\n  port: {nothing}\n")) == Settings()


@pytest.mark.parametrize(
    "text", ["on", "012", "12:30:00", "1.10", "0x1F", "1_000", "no", "2026-01-01", "1e3", "=", "007"]
)
def test_a_plain_scalar_keeps_the_text_that_was_written(text: str) -> None:
    settings = load_settings({}, written(f"redis:\n  username: {text}\n  password: {text}\n"))
    assert settings.redis.username == text
    assert settings.redis.password == Secret(text)


def test_a_quoted_null_is_a_text() -> None:
    assert load_settings({}, written("redis: {username: 'null'}")).redis.username == "null"


def test_a_list_is_a_sequence_or_a_text_with_commas() -> None:
    as_sequence = load_settings({}, written("redis:\n  sentinels:\n  - a:1\n  - b:2\n"))
    as_text = load_settings({}, written("redis:\n  sentinels: a:1, b:2\n"))
    assert as_sequence == as_text
    assert as_text.redis.sentinels == ("a:1", "b:2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("redis: {hots: x}", "line 1: unknown key redis.hots; the nearest right name is redis.host"),
        ("redsi: {host: x}", "line 1: unknown section redsi; the nearest right name is redis"),
        ("redis:\n  port: 1\n  port: 2", "line 3: redis.port is given twice"),
        ("redis: {port: 1}\nredis: {db: 1}", "line 2: redis is given twice"),
        ("redis: x", "line 1: redis must hold `key: value` lines"),
        ("- redis", "line 1: the file must hold `key: value` lines"),
        ("redis: {host: {a: b}}", "line 1: redis.host must be one value or a list of them"),
        ("redis: {sentinels: [[a]]}", "line 1: redis.sentinels must be one value or a list of them"),
        ("redis: {host: !env x}", "line 1: redis.host carries a tag"),
        ("redis: {[a]: x}", "line 1: a key must be plain text"),
        ("redis: {port: [1]}", "redis.port is \"['1']\", from file app.yaml; expected a port from 1 to 65535"),
        ("redis: {", "app.yaml is not valid YAML at line 1, column 9"),
        ("redis: {password: *hunter2}", "app.yaml is not valid YAML at line 1, column 19"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({}, written(text))
    assert message in str(caught.value)


def test_a_file_that_is_not_text_is_refused() -> None:
    Path("app.yaml").write_bytes(b"redis: \xff")
    with pytest.raises(SettingsError, match="is not UTF-8 text"):
        load_settings({}, Path("app.yaml"))
