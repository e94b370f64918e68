"""publish, read, tail, streams, log: the daily path on a real server."""

import json
import re
import signal
import subprocess
from pathlib import Path
from uuid import uuid4

import anyio.from_thread
import pytest

from tests.support.command import Command, interrupt
from tests.support.servers import redis_server

RFC3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


def test_what_is_published_is_read(either: Command) -> None:
    first = either.ok("publish", "order-42", "OrderPlaced", '{"total": 99}')
    assert re.fullmatch(r"order-42 is at version 1\n  [0-9a-f-]{36}  partition \d, position 1\n", first.out)
    assert first.err == ""
    either.ok("publish", "order-42", "OrderPaid", '{"total": 99}', "--expected", "1")
    shown = either.ok("read", "order-42").out.splitlines()
    assert shown[0] == "VERSION  RECORDED                     TYPE         DATA"
    assert re.fullmatch(rf'      1  {RFC3339}  OrderPlaced  {{"total":99}}', shown[1])
    assert re.fullmatch(rf'      2  {RFC3339}  OrderPaid    {{"total":99}}', shown[2])
    assert len(shown) == 3


def test_a_receipt_has_the_shape_of_the_interface(cli: Command) -> None:
    receipt = cli.ok("--json", "publish", "order-42", "OrderPlaced", "{}").json
    assert list(receipt) == ["stream", "version", "partition", "epoch", "position", "recorded_at", "ids"]
    assert (receipt["stream"], receipt["version"], receipt["position"]) == ("order-42", 1, 1)
    assert re.fullmatch(RFC3339, receipt["recorded_at"])


def test_everything_that_is_published_of_an_event_is_read(cli: Command) -> None:
    event_id = str(uuid4())
    cli.ok(
        *("publish", "order-42", "OrderPlaced", "-", "--id", event_id, "--correlation", "c-1", "--causation", "e-0"),
        *("--priority", "high", "--actor", "ada", "--header", "tenant=acme", "--header", "k=v=w", "--expected", "0"),
        stdin='{"face": "\\ud83d\\ude00", "big": 12345678901234567890123}',
    )
    (event,) = cli.ok("read", "order-42", "--json").items
    assert event["id"] == event_id
    assert event["data"] == {"face": "😀", "big": 12345678901234567890123}
    assert event["metadata"] == {
        "correlation_id": "c-1",
        "causation_id": "e-0",
        "traceparent": None,
        "actor": "ada",
        "priority": "HIGH",
        "headers": {"tenant": "acme", "k": "v=w"},
    }


def test_published_again_with_its_id_it_is_there_once(cli: Command) -> None:
    arguments = ["--json", "publish", "order-42", "OrderPlaced", "{}", "--id", str(uuid4())]
    assert cli.ok(*arguments).json == cli.ok(*arguments).json
    assert len(cli.ok("read", "order-42", "--json").items) == 1


def test_a_wrong_expectation_ends_with_3_and_changes_nothing(cli: Command) -> None:
    cli.ok("publish", "order-42", "OrderPlaced", "{}")
    refused = cli.run("publish", "order-42", "OrderPlaced", "{}", "--expected", "0")
    assert (refused.code, refused.out) == (3, "")
    assert refused.err == (
        "error: wrong-expected-version: order-42 is at version 1, expected 0\n"
        "  field: --expected\n"
        "  hint:  eventstore read order-42 --from 1, then decide again\n"
    )
    problem = cli.run("--json", "publish", "order-42", "OrderPlaced", "{}", "--expected", "5").problem
    assert (problem["code"], problem["status"], problem["actual"]) == ("wrong-expected-version", 412, 1)
    assert len(cli.ok("read", "order-42", "--json").items) == 1


def test_an_expectation_may_be_spelled_as_in_python(cli: Command) -> None:
    cli.ok("publish", "order-42", "OrderPlaced", "{}", "--expected", "ANY")
    assert cli.ok("publish", "order-42", "OrderPaid", "{}", "--expected", "Exists", "--json").json["version"] == 2


def test_a_stream_that_is_not_there_ends_with_4(cli: Command) -> None:
    missing = cli.run("read", "order-43")
    assert (missing.code, missing.out) == (4, "")
    assert missing.err.startswith("error: stream-not-found: there is no stream order-43\n  field: STREAM\n")


def test_a_server_that_is_not_there_ends_with_5(cli: Command) -> None:
    gone = cli.run("streams", "--url", "redis://127.0.0.1:1")
    assert (gone.code, gone.out) == (5, "")
    assert gone.err.startswith("error: redis-unavailable: nothing listens at 127.0.0.1:1\n")


def test_a_password_is_in_no_error(cli: Command) -> None:
    for arguments in (["streams"], ["-v", "streams"], ["config"], ["--json", "doctor"]):
        done = cli.run("--url", "redis://ada:geheim@127.0.0.1:1", *arguments)
        assert "geheim" not in done.out + done.err


def test_a_stream_is_read_from_both_ends(cli: Command) -> None:
    for number in range(1, 5):
        cli.ok("publish", "order-42", "Numbered", str(number))

    def read(*more: str) -> list[int]:
        return [event["data"] for event in cli.ok("read", "order-42", "--json", *more).items]

    assert read() == [1, 2, 3, 4]
    assert read("--from", "3") == [3, 4]
    assert read("--limit", "2") == [1, 2]
    assert read("--backwards", "--limit", "3") == [4, 3, 2]
    assert read("--backwards", "--from", "2") == [2, 1]
    assert read("--from", "9") == []


def test_strict_types_refuse_what_is_not_known(cli: Command) -> None:
    (cli.folder / "shop.py").write_text(
        "from msgspec import Struct\n\n\nclass OrderPlaced(Struct, frozen=True):\n    total: int\n"
    )
    strict = {"EVENTSTORE_STRICT_TYPES": "true"}
    unknown = cli.run("publish", "order-42", "OrderPlaced", '{"total": 1}', **strict)
    assert unknown.code == 1
    assert unknown.err.startswith("error: invalid-event: event type OrderPlaced is not known here")
    wrong = cli.run("publish", "order-42", "OrderPlaced", '{"total": "x"}', "--app", "shop", **strict)
    assert wrong.code == 1
    assert "Expected `int`, got `str`" in wrong.err
    cli.ok("publish", "order-42", "OrderPlaced", '{"total": 1}', "--app", "shop", **strict)


def test_a_mistyped_type_is_refused_where_the_module_tells_the_right_one(cli: Command) -> None:
    (cli.folder / "shop.py").write_text(
        "from msgspec import Struct\n\n\nclass OrderPlaced(Struct, frozen=True):\n    total: int\n"
    )
    slip = cli.run("publish", "order-42", "OrderPlacde", '{"total": 1}', "--app", "shop")
    assert slip.code == 2
    assert slip.err == (
        "error: bad-request: shop has no event type OrderPlacde\n"
        "  field: TYPE\n"
        "  hint:  eventstore types --app shop lists them; did you mean OrderPlaced?\n"
    )
    strange = cli.run("publish", "order-42", "Refunded", "--app", "shop", "--json").problem
    assert strange["remedy"] == "eventstore types --app shop lists them"
    assert cli.run("read", "order-42").code == 4


def test_what_is_published_by_a_module_has_the_version_of_its_type(cli: Command) -> None:
    (cli.folder / "shop.py").write_text(
        "from msgspec import Struct\nfrom eventstore import event\n\n\n"
        '@event(name="OrderPlaced", version=2, upcasters={1: lambda old: {"cents": old["total"] * 100}})\n'
        "class OrderPlaced(Struct, frozen=True):\n    cents: int\n"
    )
    old = cli.run("publish", "order-42", "OrderPlaced", '{"total": 1}', "--app", "shop")
    assert (old.code, "missing required field `cents`" in old.err) == (1, True)
    cli.ok("publish", "order-42", "OrderPlaced", '{"cents": 100}', "--app", "shop")
    cli.ok("publish", "order-42", "OrderPlaced", '{"total": 1}')
    assert [each["schema_version"] for each in cli.ok("read", "order-42", "--json").items] == [2, 1]


def test_system_streams_are_not_for_publishers(cli: Command) -> None:
    refused = cli.run("publish", "$audit", "T")
    assert refused.code == 2
    assert "is a system stream" in refused.err


def test_tail_goes_from_a_moment_into_live_until_nothing_comes(either: Command) -> None:
    for number in range(3):
        either.ok("publish", f"order-{number}", "Numbered", str(number))
    either.ok("publish", "other-1", "Numbered", "9")
    tail = ("tail", "--since", "-15m", "--until-idle", "300ms", "--order", "total", "--json")
    assert [e["data"] for e in either.ok(*tail).items] == [0, 1, 2, 9]
    assert [e["data"] for e in either.ok(*tail, "--category", "order").items] == [0, 1, 2]
    assert [e["data"] for e in either.ok(*tail, "--limit", "2").items] == [0, 1]
    assert either.ok(*tail, "--type", "Other").items == []


def test_tail_shows_an_event_as_it_is_published(cli: Command) -> None:
    tail = cli.start("tail", "--json", "--since", "0")
    cli.ok("publish", "order-42", "OrderPlaced", "1")
    assert tail.stdout is not None
    assert json.loads(tail.stdout.readline())["data"] == 1
    cli.ok("publish", "order-42", "OrderPlaced", "2")
    assert json.loads(tail.stdout.readline())["data"] == 2
    code, out, err = interrupt(tail)
    assert (code, out, err) == (130, "", "interrupted\n")


def test_tail_says_that_it_waits_for_the_server_and_that_it_goes_on(tmp_path: Path) -> None:
    kept = ["--dir", str(tmp_path), "--appendonly", "yes"]
    with anyio.from_thread.start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(redis_server(args=kept)) as server:
            cli = Command(tmp_path, REDIS_URL=server.url)
            tail = cli.start("tail", "--json", "--since", "0")
            assert tail.stdout is not None
            assert tail.stderr is not None
            cli.ok("publish", "order-42", "OrderPlaced", "1")
            assert json.loads(tail.stdout.readline())["data"] == 1
        away = tail.stderr.readline()
        assert away.startswith("warning: server_away detail=")
        assert "waiting for it" in away
        with portal.wrap_async_context_manager(redis_server(args=kept, port=server.port)):
            assert tail.stderr.readline() == "warning: server_back doing=going on where it stopped\n"
            assert interrupt(tail)[0] == 130


def test_read_beyond_the_end_says_where_the_end_is(cli: Command) -> None:
    cli.ok("publish", "order-42", "OrderPlaced", "1")
    for flags in ([], ["--json"]):
        done = cli.ok("read", "order-42", "--from", "7", *flags)
        assert (done.out.splitlines()[1:], done.err) == ([], "order-42 is at version 1\n")
    assert cli.ok("read", "order-42", "--from", "1").err == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_a_command_as_ctrl_c_does(cli: Command, number: signal.Signals) -> None:
    tail = cli.start("tail", "--json", "--since", "0")
    cli.ok("publish", "order-42", "OrderPlaced", "1")
    assert tail.stdout is not None
    tail.stdout.readline()
    assert interrupt(tail, number)[0] == 130


def test_under_nohup_a_command_outlives_its_terminal(cli: Command) -> None:
    words = ["nohup", *cli.words(["tail", "--json", "--since", "0"])]
    with subprocess.Popen(words, cwd=cli.folder, env=cli.environment, stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        cli.ok("publish", "order-42", "OrderPlaced", "1")
        tail.stdout.readline()
        tail.send_signal(signal.SIGHUP)
        cli.ok("publish", "order-42", "OrderPlaced", "2")
        assert json.loads(tail.stdout.readline())["data"] == 2
        tail.send_signal(signal.SIGTERM)


def test_streams_are_listed_by_name(either: Command) -> None:
    assert either.ok("--json", "streams").out == ""
    empty = either.ok("streams")
    assert empty.out == ""
    assert empty.err.startswith("no streams yet: eventstore publish")
    for stream in ("order-2", "document-docs/naïve café.md", "order-10", "order-2"):
        either.ok("publish", stream, "T")
    found = either.ok("--json", "streams").items
    versions = [(each["stream"], each["version"]) for each in found]
    assert versions == [("document-docs/naïve café.md", 1), ("order-10", 1), ("order-2", 2)]
    assert [each["stream"] for each in either.ok("streams", "--category", "order", "--json").items] == [
        "order-10",
        "order-2",
    ]
    assert len(either.ok("streams", "--limit", "1", "--json").items) == 1
    assert re.search(rf"^order-2 +2 +\d  {RFC3339}$", either.ok("streams").out, re.MULTILINE)


def test_the_log_is_described(either: Command) -> None:
    for number in range(3):
        either.ok("publish", f"order-{number}", "T")
    described = either.ok("--json", "log").json
    assert (described["partitions"], described["events"]) == (4, 3)
    assert sum(head["position"] for head in described["heads"]) == 3
    assert all(head["epochs"] >= 1 for head in described["heads"] if head["position"])
    assert "total 3 events in 4 partitions" in either.ok("log").out


def test_times_are_shown_as_wanted(cli: Command) -> None:
    cli.ok("publish", "order-42", "T")
    assert re.search(r"\d+s ago|now", cli.ok("read", "order-42", "--time", "relative").out)
    assert re.search(RFC3339, cli.ok("--time", "iso", "read", "order-42").out)
    assert re.search(r" \d{16} ", cli.ok("read", "order-42", "--time", "raw").out)
