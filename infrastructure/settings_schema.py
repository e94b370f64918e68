"""Every setting: its key, environment name, default, and what it accepts.

The classes below are the only table of settings. The key in `config/app.yaml` is the field's (encoded) name inside its
section; the second argument of `Annotated` is the name in the environment. Loader, `eventstore config` and the test of
`config/app.yaml` read `SCHEMA`, which is made from them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field
from msgspec.structs import fields

from infrastructure.durations import LONGEST_SECONDS, format_duration, parse_duration
from infrastructure.secrets import Secret, SecretUrl


class Kind(Struct, frozen=True):
    """What one kind of setting accepts; `parse` makes of a text what the type checks, `show` a text of a value."""

    expects: str
    parse: Callable[[str], object] | None = None
    show: Callable[[Any], object] | None = None
    secret: bool = False


def _redis_url(text: str) -> SecretUrl:
    url, parts = SecretUrl(text), urlsplit(text)
    database = parts.path.removeprefix("/")
    server = bool(parts.hostname) and parts.port != 0 and (not database or database.isdecimal())
    if not {"redis": server, "rediss": server, "unix": len(parts.path) > 1}.get(parts.scheme, False):
        raise ValueError("not a URL of Redis")
    return url


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")]


_HOST = Meta(pattern=r"^(?!.*://)[^\s@?#]+\Z", max_length=255)
_ADDRESS = Meta(pattern=r"^([^\s/@?#:\[\]]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}\Z")
_WEB = Meta(pattern=r"^https?://[^\s@?#]+\Z")
_AN_ADDRESS = "host:port"
_A_WEB_URL = "a http:// or https:// URL without user name, password or query"

Text = Annotated[str | None, Kind("text")]
Host = Annotated[Annotated[str, _HOST] | None, Kind("a host name or address, not a URL")]
Port = Annotated[int, Meta(ge=1, le=65_535), Kind("a port from 1 to 65535")]
Address = Annotated[Annotated[str, _ADDRESS] | None, Kind(_AN_ADDRESS)]
Addresses = Annotated[tuple[Annotated[str, _ADDRESS], ...], Kind(f"{_AN_ADDRESS}, more after commas", _items)]
WebUrl = Annotated[Annotated[str, _WEB] | None, Kind(_A_WEB_URL)]
WebUrls = Annotated[tuple[Annotated[str, _WEB], ...], Kind(f"{_A_WEB_URL}, more after commas", _items)]
Flag = Annotated[bool, Kind("true or false")]
Number = Annotated[int, Meta(ge=0, le=2**31), Kind("a whole number from 0")]
Count = Annotated[int, Meta(ge=1, le=2**31), Kind("a whole number from 1")]
Seconds = Annotated[
    float,
    Meta(gt=0, le=LONGEST_SECONDS),
    Kind("a duration such as 200ms, 90s, 15m, 2h, 7d, or a number of seconds", parse_duration, format_duration),
]
Folder = Annotated[Path, Kind("the path of a folder", Path)]
FilePath = Annotated[Path | None, Kind("the path of a file", Path)]
Password = Annotated[Secret | None, Kind("text", Secret, secret=True)]
RedisUrl = Annotated[
    SecretUrl | None,
    Kind(
        "redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH, with USER:PASSWORD@ before the host; "
        "in those two percent-encode @ / ? # and spaces",
        _redis_url,
        secret=True,
    ),
]
Level = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    Kind("one of DEBUG, INFO, WARNING, ERROR, CRITICAL", str.upper),
]
# A Lua script cannot take more than some 7,900 arguments for one command; an event with its id needs two.
CallEvents = Annotated[int, Meta(ge=1, le=3_000), Kind("a whole number from 1 to 3000")]
# Partitions are looked for with a SCAN pattern and routed by the first pair of braces in a key.
Prefix = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_.:-]+\Z", max_length=64), Kind("1 to 64 letters, digits and any of _ . : -")
]
Partitions = Annotated[int, Meta(ge=1, le=4_096), Kind("a whole number from 1 to 4096")]
DurabilityLevel = Annotated[
    Annotated[str, Meta(pattern=r"^(memory|fsync|replicas:[1-9][0-9]?)\Z")] | None,
    Kind("memory, fsync or replicas:N"),
]


class RedisSettings(Struct, frozen=True):
    """Where Redis is. `url` goes before `sentinels`, these before `host`. `nodes` are of a Cluster, and are asked at
    the start after the one that `url` or `host` names, or alone.

    `username`, `password` and `db` apply where the URL says nothing of them. Sentinels have users of their own.
    """

    url: Annotated[RedisUrl, "REDIS_URL"] = None
    host: Annotated[Host, "REDIS_HOST"] = None
    port: Annotated[Port, "REDIS_PORT"] = 6379
    username: Annotated[Text, "REDIS_USERNAME"] = None
    password: Annotated[Password, "REDIS_PASSWORD"] = None
    db: Annotated[Number, "REDIS_DB"] = 0
    cluster: Annotated[Flag, "REDIS_CLUSTER"] = False
    nodes: Annotated[Addresses, "REDIS_NODES"] = ()
    sentinels: Annotated[Addresses, "REDIS_SENTINELS"] = ()
    sentinel_master: Annotated[Text, "REDIS_SENTINEL_MASTER"] = "mymaster"
    sentinel_username: Annotated[Text, "REDIS_SENTINEL_USERNAME"] = None
    sentinel_password: Annotated[Password, "REDIS_SENTINEL_PASSWORD"] = None
    tls_ca_file: Annotated[FilePath, "REDIS_TLS_CA_FILE"] = None
    tls_cert_file: Annotated[FilePath, "REDIS_TLS_CERT_FILE"] = None
    tls_key_file: Annotated[FilePath, "REDIS_TLS_KEY_FILE"] = None
    socket_timeout_seconds: Annotated[Seconds, "REDIS_SOCKET_TIMEOUT"] = field(default=5.0, name="socket_timeout")
    connect_timeout_seconds: Annotated[Seconds, "REDIS_CONNECT_TIMEOUT"] = field(default=5.0, name="connect_timeout")
    max_connections: Annotated[Count, "REDIS_MAX_CONNECTIONS"] = 64

    @property
    def configured(self) -> bool:
        """Whether a server is named; if not, the embedded one is used."""
        return any((self.url, self.sentinels, self.host, self.nodes))


class LogSettings(Struct, frozen=True):
    """The event log. `partitions` and `duplicate_window_seconds` count only when a log is made."""

    data_dir: Annotated[Folder, "EVENTSTORE_DATA_DIR"] = Path(".eventstore")
    prefix: Annotated[Prefix, "EVENTSTORE_PREFIX"] = "es"
    partitions: Annotated[Partitions, "EVENTSTORE_PARTITIONS"] = 16
    durability: Annotated[DurabilityLevel, "EVENTSTORE_DURABILITY"] = None
    duplicate_window_seconds: Annotated[Seconds, "EVENTSTORE_DUPLICATE_WINDOW"] = field(
        default=600.0, name="duplicate_window"
    )
    append_timeout_seconds: Annotated[Seconds, "EVENTSTORE_APPEND_TIMEOUT"] = field(default=10.0, name="append_timeout")
    max_event_bytes: Annotated[Count, "EVENTSTORE_MAX_EVENT_BYTES"] = 1 << 20
    max_call_events: Annotated[CallEvents, "EVENTSTORE_MAX_CALL_EVENTS"] = 1_000
    max_call_bytes: Annotated[Count, "EVENTSTORE_MAX_CALL_BYTES"] = 8 << 20
    max_waiting_events: Annotated[Count, "EVENTSTORE_MAX_WAITING_EVENTS"] = 10_000
    max_waiting_bytes: Annotated[Count, "EVENTSTORE_MAX_WAITING_BYTES"] = 64 << 20
    strict_types: Annotated[Flag, "EVENTSTORE_STRICT_TYPES"] = False


class PostgresSettings(Struct, frozen=True):
    """The database of read models; SQLite is used while no host is set."""

    host: Annotated[Host, "POSTGRES_HOST"] = None
    port: Annotated[Port, "POSTGRES_PORT"] = 5432
    db: Annotated[Text, "POSTGRES_DB"] = "eventstore"
    user: Annotated[Text, "POSTGRES_USER"] = "eventstore"
    password: Annotated[Password, "POSTGRES_PASSWORD"] = None


class ServicesSettings(Struct, frozen=True):
    """The services of the ecosystem around us."""

    doc_store_url: Annotated[WebUrl, "DOC_STORE_URL"] = None
    analysis_service_url: Annotated[WebUrl, "ANALYSIS_SERVICE_URL"] = None
    source_agent_url: Annotated[WebUrl, "SOURCE_AGENT_URL"] = None
    reporting_url: Annotated[WebUrl, "REPORTING_URL"] = None
    rate_limit_enabled: Annotated[Flag, "RATE_LIMIT_ENABLED"] = True


class HttpClientSettings(Struct, frozen=True):
    """How we call those services."""

    timeout_seconds: Annotated[Seconds, "HTTP_CLIENT_TIMEOUT"] = field(default=10.0, name="timeout")
    retry_attempts: Annotated[Number, "HTTP_RETRY_ATTEMPTS"] = 3
    retry_base_ms: Annotated[Count, "HTTP_RETRY_BASE_MS"] = 100
    circuit_enabled: Annotated[Flag, "HTTP_CIRCUIT_ENABLED"] = True


class OrchestratorSettings(Struct, frozen=True):
    """The orchestrators that know of each other."""

    peers: Annotated[WebUrls, "ORCHESTRATOR_PEERS"] = ()


class TelemetrySettings(Struct, frozen=True):
    """Where traces and metrics are sent; nowhere while no host is set."""

    jaeger_agent_host: Annotated[Host, "JAEGER_AGENT_HOST"] = None
    jaeger_agent_port: Annotated[Port, "JAEGER_AGENT_PORT"] = 14268
    prometheus_gateway: Annotated[Address, "PROMETHEUS_GATEWAY"] = None


class LoggingSettings(Struct, frozen=True):
    """What is written to the log files of a process."""

    level: Annotated[Level, "LOG_LEVEL"] = "INFO"


class Settings(Struct, frozen=True):
    """All settings, a field per section of `config/app.yaml`."""

    redis: RedisSettings = RedisSettings()
    eventstore: LogSettings = LogSettings()
    postgres: PostgresSettings = PostgresSettings()
    services: ServicesSettings = ServicesSettings()
    http_client: HttpClientSettings = HttpClientSettings()
    orchestrator: OrchestratorSettings = OrchestratorSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    logging: LoggingSettings = LoggingSettings()


class Setting(Struct, frozen=True):
    """One row of the schema."""

    key: str
    section: str
    attribute: str
    env: str
    type: Any
    kind: Kind
    default: object


def _rows() -> list[Setting]:
    rows = []
    for section in fields(Settings):
        for each in fields(section.type):
            kind = next(note for note in each.type.__metadata__ if isinstance(note, Kind))
            env = next(note for note in each.type.__metadata__ if isinstance(note, str))
            key = f"{section.name}.{each.encode_name}"
            rows.append(Setting(key, section.name, each.name, env, each.type, kind, each.default))
    return rows


SCHEMA: dict[str, Setting] = {row.key: row for row in _rows()}
