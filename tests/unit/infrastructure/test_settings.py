"""Settings: option, else environment, else file, else default; a wrong one is named."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from infrastructure.errors import SettingsError
from infrastructure.secrets import Secret, SecretUrl
from infrastructure.settings import Settings, effective, get_config_value, load_settings
from infrastructure.settings_schema import SCHEMA
from tests.support.settings_files import written

pytestmark = pytest.mark.usefixtures("empty_folder")

# Other programs and people set these: a name is never changed.
PROMISED_NAMES = re.findall(
    r"\w+",
    """
    REDIS_HOST REDIS_PORT REDIS_URL POSTGRES_HOST POSTGRES_PORT POSTGRES_DB POSTGRES_USER POSTGRES_PASSWORD LOG_LEVEL
    DOC_STORE_URL ANALYSIS_SERVICE_URL SOURCE_AGENT_URL REPORTING_URL ORCHESTRATOR_PEERS HTTP_CLIENT_TIMEOUT
    HTTP_RETRY_ATTEMPTS HTTP_RETRY_BASE_MS HTTP_CIRCUIT_ENABLED JAEGER_AGENT_HOST JAEGER_AGENT_PORT PROMETHEUS_GATEWAY
    RATE_LIMIT_ENABLED EVENTSTORE_DATA_DIR EVENTSTORE_PREFIX EVENTSTORE_PARTITIONS EVENTSTORE_DURABILITY
    EVENTSTORE_DUPLICATE_WINDOW EVENTSTORE_APPEND_TIMEOUT EVENTSTORE_MAX_EVENT_BYTES EVENTSTORE_MAX_CALL_EVENTS
    EVENTSTORE_MAX_CALL_BYTES EVENTSTORE_MAX_WAITING_EVENTS EVENTSTORE_MAX_WAITING_BYTES EVENTSTORE_STRICT_TYPES
    """,
)


def source_of(key: str, environ: Mapping[str, str], file: Path | None = None, **options: object) -> str:
    return next(row.source for row in effective(environ, file, options) if row.key == key)


# Where a value comes from


def test_an_option_goes_before_the_environment_before_the_file_before_the_default() -> None:
    file = written("redis: {port: 3}")
    environ = {"REDIS_PORT": "2"}
    port = {"redis.port": "1"}

    assert load_settings(environ, file, port).redis.port == 1
    assert load_settings(environ, file).redis.port == 2
    assert load_settings({}, file).redis.port == 3
    assert load_settings({}).redis.port == 6379


def test_every_value_tells_its_source() -> None:
    file = written("redis: {db: 3}")
    rows = {row.key: row for row in effective({"REDIS_PORT": "2"}, file, {"redis.host": "here"})}

    assert rows.keys() == SCHEMA.keys()
    assert (rows["redis.host"].value, rows["redis.host"].source) == ("here", "option")
    assert (rows["redis.port"].value, rows["redis.port"].source) == (2, "environment REDIS_PORT")
    assert (rows["redis.db"].value, rows["redis.db"].source) == (3, "file app.yaml")
    assert (rows["redis.url"].value, rows["redis.url"].source) == (None, "default")
    assert (rows["eventstore.duplicate_window"].value, rows["eventstore.duplicate_window"].env) == (
        "10m",
        "EVENTSTORE_DUPLICATE_WINDOW",
    )


def test_what_is_effective_can_be_written_as_json() -> None:
    environ = {"REDIS_SENTINELS": "a:1,b:2", "REDIS_URL": "redis://:hunter2@host", "REDIS_TLS_CA_FILE": "ca.pem"}
    values = {row.key: json.loads(json.dumps(row.value)) for row in effective(environ)}
    assert values["redis.sentinels"] == ["a:1", "b:2"]
    assert values["redis.url"] == "redis://********@host"
    assert values["redis.tls_ca_file"] == "ca.pem"


@pytest.mark.parametrize("environ", [{"REDIS_PORT": ""}, {"REDIS_URL": ""}, {"EVENTSTORE_CONFIG": ""}])
def test_an_empty_variable_counts_as_unset(environ: dict[str, str]) -> None:
    assert load_settings(environ) == Settings()


@pytest.mark.parametrize("option", [None, ""])
def test_an_option_that_was_not_given_changes_nothing(option: object) -> None:
    assert load_settings({"REDIS_HOST": "h"}, None, {"redis.host": option}).redis.host == "h"


def test_the_file_of_the_working_directory_is_used_if_there_is_one(empty_folder: Path) -> None:
    (empty_folder / "config").mkdir()
    (empty_folder / "config" / "app.yaml").write_text("redis: {port: 1}")
    assert load_settings({}).redis.port == 1


def test_the_environment_may_name_the_file_and_the_caller_another() -> None:
    Path("one.yaml").write_text("redis: {port: 1}")
    Path("two.yaml").write_text("redis: {port: 2}")
    environ = {"EVENTSTORE_CONFIG": "one.yaml"}
    assert load_settings(environ).redis.port == 1
    assert load_settings(environ, Path("two.yaml")).redis.port == 2


def test_a_named_file_that_is_missing_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"absent\.yaml cannot be read: No such file"):
        load_settings({"EVENTSTORE_CONFIG": "absent.yaml"})


def test_a_password_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "redis_password").write_text("hunter2\n")
    environ = {"POSTGRES_PASSWORD_FILE": str(tmp_path / "redis_password")}
    settings = load_settings(environ, secrets_dir=tmp_path)
    assert settings.redis.password == settings.postgres.password == Secret("hunter2")


# Where Redis is


@pytest.mark.parametrize(
    "environ",
    [{"REDIS_URL": "redis://h"}, {"REDIS_HOST": "h"}, {"REDIS_SENTINELS": "h:26379"}],
    ids=lambda e: next(iter(e)),
)
def test_redis_is_configured_by_url_host_or_sentinels(environ: dict[str, str]) -> None:
    assert load_settings(environ).redis.configured


def test_without_them_the_embedded_server_is_meant() -> None:
    assert not load_settings({"REDIS_PORT": "6380", "REDIS_PASSWORD": "x"}).redis.configured


def test_the_strongest_source_that_says_where_redis_is_decides_alone() -> None:
    file = written("redis: {url: 'redis://from-file', sentinels: ['from-file:1']}")

    redis = load_settings({"REDIS_HOST": "from-environment"}, file).redis
    assert (redis.url, redis.sentinels, redis.host) == (None, (), "from-environment")

    redis = load_settings({"REDIS_HOST": "from-environment"}, file, {"redis.url": "redis://from-option"}).redis
    assert (redis.url, redis.sentinels, redis.host) == (SecretUrl("redis://from-option"), (), None)
    assert source_of("redis.host", {"REDIS_HOST": "h"}, file, **{"redis.url": "redis://o"}) == "default"


@pytest.mark.parametrize(
    "url", ["redis://h", "redis://h:1/", "redis://u:p%40@h:1/2?a=b", "rediss://[::1]:1", "unix:///s", "unix://u:p@/a/s"]
)
def test_a_url_of_redis_is_taken(url: str) -> None:
    assert load_settings({"REDIS_URL": url}).redis.url == SecretUrl(url)


@pytest.mark.parametrize(
    "url",
    [
        "h",
        "http://h",
        "redis:h",
        "redis://",
        "redis://:6379",
        "redis://h:x",
        "redis://h:70000",
        "redis://h/x",
        "unix://",
        "unix:///",
        "redis://:p@ss@h",
        "redis://:p/ss@h",
        "redis://h#x",
    ],
)
def test_any_other_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(SettingsError, match=r"redis.url is \*{8}, from environment REDIS_URL; expected redis://"):
        load_settings({"REDIS_URL": url})


# What a value may be


@pytest.mark.parametrize(
    ("env", "text", "key", "value"),
    [
        ("REDIS_SENTINELS", "a:1, b:2", "sentinels", ("a:1", "b:2")),
        ("REDIS_CLUSTER", "True", "cluster", True),
        ("REDIS_SOCKET_TIMEOUT", "200ms", "socket_timeout_seconds", 0.2),
        ("REDIS_SOCKET_TIMEOUT", "3", "socket_timeout_seconds", 3.0),
        ("REDIS_PASSWORD", "0123", "password", Secret("0123")),
        ("REDIS_TLS_CA_FILE", "ca.pem", "tls_ca_file", Path("ca.pem")),
    ],
)
def test_a_text_gets_the_type_of_its_setting(env: str, text: str, key: str, value: object) -> None:
    assert getattr(load_settings({env: text}).redis, key) == value


@pytest.mark.parametrize("text", ["memory", "fsync", "replicas:1", "replicas:12"])
def test_durability_is_one_of_three_levels(text: str) -> None:
    assert load_settings({"EVENTSTORE_DURABILITY": text}).eventstore.durability == text


def test_a_log_level_may_be_in_lower_case() -> None:
    assert load_settings({"LOG_LEVEL": "debug"}).logging.level == "DEBUG"


WRONG = [
    ("redis.port", "abc"),
    ("redis.port", "0"),
    ("redis.port", "65536"),
    ("redis.port", "012"),
    ("redis.host", "a b"),
    ("redis.host", "redis://h"),
    ("redis.cluster", "on"),
    ("redis.sentinels", "h"),
    ("redis.sentinels", "h:1,"),
    ("redis.socket_timeout", "12:30:00"),
    ("redis.socket_timeout", "0"),
    ("eventstore.partitions", "0"),
    ("eventstore.partitions", "16.5"),
    ("eventstore.prefix", "a{b}"),
    ("eventstore.prefix", "a*"),
    ("eventstore.prefix", "es\n"),
    ("eventstore.durability", "disk"),
    ("eventstore.durability", "replicas:0"),
    ("eventstore.duplicate_window", "-10m"),
    ("eventstore.max_event_bytes", "1MiB"),
    ("services.doc_store_url", "ftp://h"),
    ("orchestrator.peers", "http://a b"),
    ("telemetry.prometheus_gateway", "http://h:1"),
    ("logging.level", "LOUD"),
]


@pytest.mark.parametrize(("key", "text"), WRONG)
@pytest.mark.parametrize("place", ["option", "environment", "file"])
def test_a_wrong_value_names_key_source_value_and_what_was_expected(key: str, text: str, place: str) -> None:
    section, name = key.split(".")
    row = SCHEMA[key]
    file = written(json.dumps({section: {name: text}})) if place == "file" else None
    environ = {row.env: text} if place == "environment" else {}
    options = {key: text} if place == "option" else {}
    source = {"option": "option", "environment": f"environment {row.env}", "file": "file app.yaml"}[place]

    with pytest.raises(SettingsError) as caught:
        load_settings(environ, file, options)
    assert str(caught.value) == f"{key} is {text!r}, from {source}; expected {row.kind.expects}"
    assert caught.value.field == key
    assert caught.value.facts == {"key": key, "source": source, "value": repr(text), "expected": row.kind.expects}


def test_a_long_wrong_value_is_shown_in_part() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"REDIS_PORT": "x" * 100_000})
    assert len(str(caught.value)) < 200


def test_an_unknown_option_is_an_error_with_the_nearest_right_name() -> None:
    with pytest.raises(SettingsError, match=r"unknown key redis.ulr; the nearest right name is redis.url"):
        load_settings({}, None, {"redis.ulr": "x"})


def test_every_promised_environment_name_is_a_setting() -> None:
    assert set(PROMISED_NAMES) <= {row.env for row in SCHEMA.values()}
    assert len({row.env for row in SCHEMA.values()}) == len(SCHEMA)


# One value


def test_one_value_is_found_as_all_are() -> None:
    file = written("http_client: {timeout: 3s}")
    environ = {"HTTP_RETRY_ATTEMPTS": "7", "MY_TIMEOUT": "5s"}
    assert get_config_value("retry_attempts", 1, "http_client", environ=environ, file=file) == 7
    assert get_config_value("timeout", 1.0, "http_client", environ=environ, file=file) == 3.0
    assert get_config_value("timeout", 1.0, "http_client", "MY_TIMEOUT", environ=environ, file=file) == 5.0
    assert get_config_value("retry_base_ms", 50, "http_client", environ=environ, file=file) == 50
    assert get_config_value("retry_base_ms", section="http_client", environ=environ, file=file) == 100
    assert get_config_value("redis.port", environ=environ, file=file) == 6379


def test_a_value_that_is_not_ours_has_the_type_of_its_default() -> None:
    environ = {"OLLAMA_HOST": "http://ollama", "BATCH": "12", "VERBOSE": "true", "EMPTY": ""}
    assert get_config_value("ollama_host", environ=environ) == "http://ollama"
    assert get_config_value("size", 5, "batches", "BATCH", environ=environ) == 12
    assert get_config_value("verbose", default=False, environ=environ) is True
    assert get_config_value("empty", "default", environ=environ) == "default"
    assert get_config_value("absent", environ=environ) is None


def test_a_value_that_does_not_fit_its_default_is_an_error() -> None:
    with pytest.raises(SettingsError, match="batch is 'x', from environment BATCH; expected a value of type int"):
        get_config_value("batch", 5, environ={"BATCH": "x"})
