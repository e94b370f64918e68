"""import and export, as processes that are interrupted, killed, and fed by pipes."""

import json
import random
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.command import Command, interrupt, wait_until


def write(file: Path, count: int, streams: int = 50) -> None:
    with file.open("w") as out:
        for n in range(count):
            out.write(json.dumps({"type": "Noted", "stream": f"note-{n % streams}", "data": {"n": n}}) + "\n")


def imported(cli: Command) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for event in cli.ok("export").items:
        found.setdefault(event["stream"], []).append(event["data"]["n"])
    return found


def expected(count: int, streams: int = 50) -> dict[str, list[int]]:
    return {f"note-{s}": list(range(s, count, streams)) for s in range(streams)}


def test_a_file_is_imported_and_again_adds_nothing(either: Command) -> None:
    write(either.folder / "events.ndjson", 500)
    first = either.ok("import", "events.ndjson", "--json").json
    assert (first["lines"], first["appended"], first["already"]) == (500, 500, 0)
    again = either.ok("import", "events.ndjson").out
    assert again.startswith("0 events appended, 500 were there already\n")
    assert imported(either) == expected(500)
    assert [(job["state"], job["done"], job["total"]) for job in either.ok("jobs", "--json").items] == [
        ("done", 500, 500)
    ] * 2


def test_a_line_that_is_no_event_says_what_one_is(cli: Command) -> None:
    done = cli.run("import", "-", stdin='{"type": "T", "stream": "s"}\n')
    assert done.code == 1
    assert "line 1: Object missing required field `data`\n" in done.err
    assert '  hint:  an event is at least {"type": "OrderPlaced", "data": {"total": 99}}\n' in done.err


def test_stdin_is_imported(cli: Command) -> None:
    done = cli.ok("import", "-", "--json", stdin='{"type": "T", "stream": "s-1", "data": 1}\n')
    assert done.json["appended"] == 1
    (entry,) = cli.ok("--json", "audit").items
    assert (entry["what"], entry["facts"]["file"]) == ("import", "stdin")


def test_a_line_at_fault_is_named(cli: Command) -> None:
    failed = cli.run("import", "-", stdin='{"type": "T", "stream": "s-1", "data": 1}\n{"type": "T"}\n')
    assert failed.code == 1
    assert failed.err.startswith("error: invalid-event: line 2: Object missing required field `data`\n")
    assert cli.run("--json", "import", "-", stdin="{\n").problem["line"] == 1


def test_export_and_import_carry_a_log_to_another(cli: Command) -> None:
    write(cli.folder / "events.ndjson", 300)
    cli.ok("import", "events.ndjson")
    for form in ([], ["--cloudevents"]):
        done = cli.ok("export", "--out", "out.ndjson", "--json", *form)
        assert done.json == {"file": "out.ndjson", "events": 300}
        copy = f"{cli.environment['EVENTSTORE_PREFIX']}:copy{len(form)}"
        cli.ok("import", "out.ndjson", EVENTSTORE_PREFIX=copy)
        here = cli.ok("read", "note-7", "--json").items
        there = cli.ok("read", "note-7", "--json", EVENTSTORE_PREFIX=copy).items
        of_the_log = {"partition", "epoch", "position", "recorded_at"}
        assert [{k: v for k, v in e.items() if k not in of_the_log} for e in there] == [
            {k: v for k, v in e.items() if k not in of_the_log} for e in here
        ]


def test_an_export_is_filtered(cli: Command) -> None:
    for stream, kind in (("order-1", "A"), ("order-2", "B"), ("other-1", "A")):
        cli.ok("publish", stream, kind, "--correlation", f"c-{stream}")

    def streams(*more: str) -> list[str]:
        return [event["stream"] for event in cli.ok("export", *more).items]

    assert streams("--type", "A") == ["order-1", "other-1"]
    assert streams("--category", "order") == ["order-1", "order-2"]
    assert streams("--correlation", "c-order-2") == ["order-2"]
    assert streams("--until", "-1h") == []
    assert len(streams("--since", "-1h")) == 3


def test_a_file_that_cannot_be_written_is_a_usage_error(cli: Command) -> None:
    failed = cli.run("export", "--out", "no/such/folder/out.ndjson")
    assert failed.code == 2
    assert "  field: --out\n" in failed.err


def test_nothing_is_left_of_an_export_that_fails(cli: Command) -> None:
    (cli.folder / "out.ndjson").write_text("before")
    assert cli.run("export", "--out", "out.ndjson", "--url", "redis://127.0.0.1:1").code == 5
    assert [each.name for each in cli.folder.iterdir()] == ["out.ndjson"]
    assert (cli.folder / "out.ndjson").read_text() == "before"


def until_some_are_there(cli: Command, least: int) -> None:
    wait_until(lambda: cli.ok("--json", "log").json["events"] >= least, seconds=60)


def test_ctrl_c_stops_at_a_safe_point_and_says_how_to_go_on(cli: Command) -> None:
    write(cli.folder / "events.ndjson", 60_000)
    running = cli.start("import", "events.ndjson")
    until_some_are_there(cli, 100)
    code, out, err = interrupt(running)
    assert (code, out) == (130, "")
    assert err.startswith("interrupted: stopped after line ")
    assert err.endswith("go on with: eventstore import events.ndjson\n")
    (job,) = cli.ok("--json", "jobs").items
    assert (job["state"], job["total"]) == ("cancelled", 60_000)
    done = cli.ok("import", "events.ndjson", "--json").json
    assert (done["already"], done["appended"] + done["already"]) == (job["done"], 60_000)
    assert imported(cli) == expected(60_000)


def test_a_job_is_cancelled_from_beside(cli: Command) -> None:
    write(cli.folder / "events.ndjson", 400_000)
    running = cli.start("import", "events.ndjson")
    until_some_are_there(cli, 100)
    (job,) = cli.ok("--json", "jobs").items
    asked = cli.ok("jobs", "cancel", job["id"][:8], "--reason", "wrong file", "--json").json
    assert asked["cancel_requested_by"]
    _, err = running.communicate(timeout=60)
    assert running.returncode == 1
    assert f"error: job-cancelled: job {job['id']} was asked to stop" in err
    assert cli.ok("jobs", job["id"], "--json").json["state"] == "cancelled"
    assert [e["what"] for e in cli.ok("--json", "audit").items] == ["job-cancel", "import"]


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_it_goes_on_and_doubles_nothing(either: Command, seed: int) -> None:
    either.environment["EVENTSTORE_DUPLICATE_WINDOW"] = "10ms"
    write(either.folder / "events.ndjson", 20_000)
    moment = random.Random(seed)
    for _ in range(3):
        running = either.start("import", "events.ndjson")
        with suppress(subprocess.TimeoutExpired):  # when it dies is what is tried, so it is left to chance
            running.wait(moment.uniform(0.5, 3.0))
        interrupt(running, signal.SIGKILL)
    either.ok("import", "events.ndjson")
    assert imported(either) == expected(20_000)
    assert either.ok("verify").out.startswith("ok ")
