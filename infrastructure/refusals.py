"""What a server's refusal, or a connection that failed, means to a caller: one reason and one remedy for each.

Loads no Redis client, so that the command line may name these errors without paying for one.
"""

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from errno import ECONNREFUSED

from infrastructure.errors import EventStoreError, Unavailable

_REFUSALS: Mapping[str, tuple[str, str]] = {
    "NOAUTH": ("authentication", "set redis.password (or put it into REDIS_URL)"),
    "WRONGPASS": ("authentication", "check redis.username and redis.password, or user and password in the URL"),
    "NOPERM": ("permission", "grant the missing right to this user with ACL SETUSER"),
    "READONLY": ("read-only", "this server is a replica: name the primary, or its Sentinels, in the settings"),
    "MASTERDOWN": ("read-only", "this server is a replica that lost its primary: name the primary in the settings"),
    "OOM": ("out-of-memory", "raise maxmemory, if the machine has as much memory"),
    "MISCONF": ("disk", "free disk space on the server and read its log: it cannot persist what it accepts"),
    "LOADING": ("loading", "wait: the server is reading its data from disk"),
    "BUSY": ("busy", "wait, or end the script that keeps the server busy with SCRIPT KILL"),
    "TRYAGAIN": ("cluster", "try again: a slot is on its way to another node"),
    "CLUSTERDOWN": ("cluster", "see CLUSTER INFO: slots are unassigned, or most primaries cannot be reached"),
    "MOVED": ("cluster", "try again: the slot has moved; for a client that is not in cluster mode set redis.cluster"),
    "ASK": ("cluster", "try again: a slot is on its way to another node"),
    "CROSSSLOT": ("cluster", "all keys of one call must carry the same {tag}"),
    "NOREPLICAS": ("no-replicas", "start the missing replicas, or lower min-replicas-to-write"),
    "UNBLOCKED": ("read-only", "try again: the server changed its role while a read was waiting"),
}

_NOT_TLS = {"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG"}  # what plain text looks like to who expects TLS
_BROKE = "check the server and the network"
# What servers add to an error that a script has met: its hash, which Valkey 9 leaves out, and the line.
_PLACE_IN_SCRIPT = re.compile(r" script: (?:[0-9a-f]{40}, )?on @user_script:\d+\.?$")
_IN_SCRIPT = {"can't run this command", "ACL failure in script"}  # Redis; Valkey 9
_ERR_TEXTS: tuple[tuple[str, str, str], ...] = (
    ("max number of clients", "busy", "raise maxclients on the server, or lower redis.max_connections"),
    # What NOAUTH becomes for a command of more than ten words, such as every call of a script.
    ("Protocol error: unauthenticated", "authentication", "set redis.password (or put it into REDIS_URL)"),
    ("AUTH <password> called without", "authentication", "the server has no password: remove redis.password"),
    *((text, "permission", "grant this user the right that eventstore doctor names") for text in sorted(_IN_SCRIPT)),
    ("unknown command", "unsupported", "use Redis 7.0 or later, or Valkey 8 or later"),
    ("cluster support disabled", "unsupported", "the server is no Cluster: unset redis.cluster"),
    ("DB index is out of range", "unsupported", "choose a database that the server has (redis.db)"),
    ("SELECT is not allowed in cluster", "unsupported", "a Cluster has database 0 only: unset redis.db"),
)


def code_of(error: BaseException) -> str:
    """The word that begins a server's error reply, such as READONLY; empty if there is none."""
    status = getattr(error, "status_code", None)
    word = status or str(error).partition(" ")[0]
    return word if word.isalnum() and word.isupper() else ""


def text_of(error: BaseException) -> str:
    """What the server said, without the place in the script where it said so."""
    return _PLACE_IN_SCRIPT.sub("", str(error))


def refusal(error: Exception, address: str = "the server") -> EventStoreError:
    """What a server's error reply means. A refused command changed nothing, so `maybe_ran` is false; but a script that
    met a right that its user lacks may have written before it did."""
    # For a command that it does not know, AUTH under another name too, a server repeats the first arguments.
    code, text = code_of(error), text_of(error).partition(", with args beginning with:")[0]
    detail = f"{address} refused a command: {text if text.startswith(code) else f'{code} {text}'}"
    if code in _REFUSALS:
        reason, remedy = _REFUSALS[code]
        return Unavailable(detail, reason=reason, remedy=remedy)
    for part, reason, remedy in _ERR_TEXTS:
        if part in text:
            return Unavailable(detail, reason=reason, maybe_ran=part in _IN_SCRIPT, remedy=remedy)
    return EventStoreError(detail, facts={"code": code})


def lost(error: BaseException, address: str, *, maybe_ran: bool, unanswered_tls: bool = False) -> Unavailable:
    """A connection that could not be made, or broke. The text names the address, never a user's password.

    `unanswered_tls`: it spoke TLS, and nothing was answered on it yet. A server that wants another certificate of its
    clients, or one at all, ends it just then, and what it said of that is often lost.
    """
    reason, detail, remedy = _cause(error, address)
    if unanswered_tls and remedy == _BROKE:
        detail = f"{address} ended the TLS connection before its first answer: {error}"
        remedy = (
            "check redis.tls_cert_file and redis.tls_key_file if it wants a certificate of clients, and read its log"
        )
    return Unavailable(detail, reason=reason, maybe_ran=maybe_ran, remedy=remedy)


def speaks_no_tls(address: str) -> Unavailable:
    """What is told of a server that answers, and not by TLS."""
    return Unavailable(
        f"{address} speaks no TLS: it answers without",
        reason="tls",
        remedy="write redis:// for rediss:// (and unset redis.tls_ca_file), or name the port that speaks TLS",
    )


def _cause(error: BaseException, address: str) -> tuple[str, str, str]:
    for cause in _chain(error):
        if isinstance(cause, ssl.SSLEOFError):
            continue  # the other end has gone, as it does in a restart: no fault of TLS
        known = _tls(cause, address) if isinstance(cause, ssl.SSLError) else _system(cause, address)
        if known:
            return known
    return "unreachable", f"the connection to {address} broke: {error}", _BROKE


def _tls(cause: ssl.SSLError, address: str) -> tuple[str, str, str]:
    if isinstance(cause, ssl.SSLCertVerificationError):
        detail = f"the certificate of {address} is not trusted: {cause.verify_message}"
        return "tls", detail, "check redis.tls_ca_file, and that the host is one the certificate names"
    if getattr(cause, "reason", None) in _NOT_TLS:
        plain = speaks_no_tls(address)
        return plain.reason, plain.detail, str(plain.remedy)
    remedy = "check that this port speaks TLS, and redis.tls_cert_file and redis.tls_key_file"
    return "tls", f"no TLS connection to {address}: {getattr(cause, 'reason', None) or cause}", remedy


def _system(cause: BaseException, address: str) -> tuple[str, str, str] | None:
    match cause:
        case socket.gaierror():
            return "dns", f"the name in {address} cannot be resolved: {cause.strerror}", "check redis.host"
        case OSError() if cause.errno == ECONNREFUSED or f"[Errno {ECONNREFUSED}]" in str(cause):
            # The second form is that of a name with several addresses.
            return "unreachable", f"nothing listens at {address}", "start the server, or check host and port"
        case FileNotFoundError():
            return "unreachable", f"there is no socket {address}", "start the server, or check the path"
        case PermissionError():
            return "permission", f"the socket {address} may not be opened", "check the rights of its file"
        case TimeoutError():
            return "timeout", f"no answer from {address} in time", "see whether the server is overloaded or paused"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, the innermost first: the client library wraps what the system said."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        following = following.__cause__ or following.__context__
    return reversed(chain)
