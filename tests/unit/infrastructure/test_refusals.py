"""Every refusal of a server has a reason and a remedy; every broken connection says why."""

import socket
import ssl
from collections.abc import Callable
from typing import cast

import pytest
from redis.exceptions import ResponseError

from infrastructure.errors import EventStoreError, Unavailable
from infrastructure.refusals import code_of, lost, refusal
from infrastructure.wires import _Replies

parsed: Callable[[str], Exception] = _Replies.parse_error

SAID = {
    "NOAUTH Authentication required.": "authentication",
    "WRONGPASS invalid username-password pair or user is disabled.": "authentication",
    "NOPERM this user has no permissions to run the 'set' command": "permission",
    "ERR The user executing the script can't run this command or subcommand": "permission",
    "ERR ACL failure in script: User u has no permissions to run the 'rpush' command": "permission",
    "READONLY You can't write against a read only replica.": "read-only",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": "read-only",
    "OOM command not allowed when used memory > 'maxmemory'.": "out-of-memory",
    "MISCONF Errors writing to the AOF file: No space left on device": "disk",
    "LOADING Redis is loading the dataset in memory": "loading",
    "BUSY Redis is busy running a script.": "busy",
    "ERR max number of clients reached": "busy",
    "TRYAGAIN Multiple keys request during rehashing of slot": "cluster",
    "CLUSTERDOWN Hash slot not served": "cluster",
    "MOVED 3999 127.0.0.1:6381": "cluster",
    "ASK 3999 127.0.0.1:6381": "cluster",
    "CROSSSLOT Keys in request don't hash to the same slot": "cluster",
    "NOREPLICAS Not enough good replicas to write.": "no-replicas",
    "ERR unknown command 'WAITAOF'": "unsupported",
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)": "read-only",
}


@pytest.mark.parametrize(("text", "reason"), SAID.items())
def test_what_a_server_says_has_one_reason_and_a_remedy(text: str, reason: str) -> None:
    reply = parsed(text)
    assert isinstance(reply, ResponseError), "so that it stands in its place among the replies"
    assert code_of(reply) == text.partition(" ")[0]
    error = refusal(reply, "10.0.0.1:6379")
    assert isinstance(error, Unavailable)
    assert error.reason == reason
    assert error.maybe_ran is (
        "executing the script" in text or "failure in script" in text
    )  # a script that lacks a right may have written before
    assert error.remedy
    assert text in error.detail
    assert "10.0.0.1:6379" in error.detail


@pytest.mark.parametrize("place", [f"{'5f' * 20}, on @user_script:314.", "on @user_script:314."])
@pytest.mark.parametrize("text", [text for text in SAID if not text.startswith(("MOVED", "ASK"))])
def test_where_in_a_script_a_server_refused_is_not_told(text: str, place: str) -> None:
    """It says nothing to a user, and the line is that of a file put together from several."""
    assert refusal(parsed(f"{text} script: {place}"), "a").detail == refusal(parsed(text), "a").detail


def test_only_what_somebody_has_to_change_is_final() -> None:
    """An append is not repeated then, and a subscription ends."""
    final = {reason for text, reason in SAID.items() if cast("Unavailable", refusal(parsed(text))).is_final}
    assert final == {"authentication", "permission", "unsupported"}
    ends = {ssl.SSLError(1, "WRONG_VERSION_NUMBER"): True, ssl.SSLEOFError(8, "EOF"): False, TimeoutError(): False}
    assert {error: lost(error, "a", maybe_ran=False).is_final for error in ends} == ends


def test_what_is_a_mistake_of_the_caller_is_no_outage() -> None:
    error = refusal(parsed("WRONGTYPE Operation against a key holding the wrong kind of value"))
    assert type(error) is EventStoreError
    assert error.facts == {"code": "WRONGTYPE"}


def test_an_error_of_ones_own_script_keeps_its_first_word() -> None:
    assert code_of(parsed("CONFLICT 3 5")) == "CONFLICT"
    assert code_of(parsed("lower case words are no code")) == ""


CAUSES = [
    (socket.gaierror(-2, "Name or service not known"), "dns"),
    (ConnectionRefusedError(111, "Connect call failed"), "unreachable"),
    (OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1'), [Errno 111] ..."), "unreachable"),
    (FileNotFoundError(2, "No such file"), "unreachable"),
    (PermissionError(13, "Permission denied"), "permission"),
    (TimeoutError(), "timeout"),
    (ssl.SSLError(1, "WRONG_VERSION_NUMBER"), "tls"),
    (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), "unreachable"),  # a restart does that, too
    (ConnectionResetError(104, "Connection reset by peer"), "unreachable"),
]


@pytest.mark.parametrize(("cause", "reason"), CAUSES)
@pytest.mark.parametrize("maybe_ran", [True, False])
def test_a_broken_connection_says_why_however_deep_the_cause_lies(
    cause: Exception, reason: str, maybe_ran: bool
) -> None:
    outer = RuntimeError("what the client library made of it")
    outer.__cause__ = ValueError("between")
    outer.__cause__.__context__ = cause
    error = lost(outer, "db:6379", maybe_ran=maybe_ran)
    assert (error.reason, error.maybe_ran) == (reason, maybe_ran)
    assert "db:6379" in error.detail
    assert error.remedy
