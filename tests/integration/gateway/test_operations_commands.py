"""config, doctor, verify, bench, jobs, audit, types, up: what an operator types."""

import os
import signal

from tests.support.command import Command, interrupt, wait_for_line, wait_until
from tests.support.servers import Server


def test_config_tells_the_source_of_each_setting_and_no_secret(cli: Command) -> None:
    found = {e["key"]: e for e in cli.ok("--json", "config", REDIS_PASSWORD="geheim").items}
    assert found["eventstore.partitions"] == {
        "key": "eventstore.partitions",
        "value": 4,
        "source": "environment EVENTSTORE_PARTITIONS",
        "env": "EVENTSTORE_PARTITIONS",
    }
    assert found["redis.port"]["source"] == "default"
    shown = cli.ok("config", "--url", "redis://ada:geheim@h:1/2", REDIS_PASSWORD="geheim").out
    assert "geheim" not in shown
    assert "option" in shown


def test_a_wrong_setting_is_named_with_its_source(cli: Command) -> None:
    (cli.folder / "own.yaml").write_text("eventstore:\n  partitons: 3\n")
    wrong = cli.run("config", "--config", "own.yaml")
    assert wrong.code == 2
    assert "partitions" in wrong.err
    wrong = cli.run("streams", EVENTSTORE_PARTITIONS="many")
    assert wrong.code == 2
    assert "EVENTSTORE_PARTITIONS" in wrong.err
    assert "  field: eventstore.partitions\n" in wrong.err


def test_a_settings_file_that_is_not_there_is_named_with_the_remedy(cli: Command) -> None:
    wrong = cli.run("config", "--config", "nope.yaml")
    assert wrong.code == 2
    assert "nope.yaml cannot be read: No such file or directory\n" in wrong.err
    assert "  hint:  name a settings file that is there: --config FILE or EVENTSTORE_CONFIG\n" in wrong.err


def test_a_wrong_password_is_looked_for_in_the_url_too(cli: Command, server: Server) -> None:
    wrong = cli.run("streams", "--url", f"redis://ada:wrong@{server.address}")
    assert wrong.code == 5
    assert "  hint:  check redis.username and redis.password, or user and password in the URL\n" in wrong.err


def test_what_only_reads_needs_no_replica_and_what_appends_is_refused(cli: Command) -> None:
    cli.ok("publish", "order-42", "OrderPlaced", '{"total": 99}')
    away = {"EVENTSTORE_DURABILITY": "replicas:1"}
    tail = ("tail", "--since", "-1h", "--limit", "1")
    for command in (tail, ("streams",), ("verify",)):
        cli.ok(*command, **away)
    refused = cli.run("publish", "order-42", "OrderPlaced", '{"total": 1}', **away)
    assert refused.code == 5
    assert "0 replicas connected" in refused.err
    assert len(cli.ok("--json", "read", "order-42", **away).items) == 1


def test_doctor_is_content_with_the_embedded_server(embedded: Command) -> None:
    done = embedded.ok("doctor")
    assert done.out.startswith("ok  server")
    assert {e["status"] for e in embedded.ok("--json", "doctor").items} == {"ok"}


def test_doctor_names_what_fails_and_how_to_mend_it(cli: Command, server: Server) -> None:
    server.admin("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        done = cli.run("doctor")
        assert done.code == 1
        (line,) = [line for line in done.out.splitlines() if line.startswith("FAIL")]
        assert "allkeys-lru" in line
        assert line.endswith("fix: CONFIG SET maxmemory-policy noeviction")
        failed = [e for e in cli.run("--json", "doctor").items if e["status"] == "FAIL"]
        assert [e["name"] for e in failed] == ["policy"]
        refused = cli.run("streams")
        assert refused.code == 5
        assert "allkeys-lru" in refused.err
    finally:
        server.admin("CONFIG", "SET", "maxmemory-policy", "noeviction")


def test_verify_finds_what_a_stranger_did_to_the_log(cli: Command, server: Server) -> None:
    for number in range(3):
        cli.ok("publish", "order-42", "T", str(number))
    assert cli.ok("verify").out == "ok    3 events: each once, no gap, in order\n"
    assert cli.ok("--json", "verify").json == {"ok": True, "events": 3, "groups": 0, "findings": []}
    cli.ok("groups", "create", "mailer")
    assert cli.ok("verify").out.endswith(" events: each once, no gap, in order; 1 group in order\n")
    (key,) = server.admin("KEYS", "*:i:order-42")
    log = key.split(b":i:")[0] + b":log"
    server.admin("XDEL", log, server.admin("XRANGE", log, "-", "+")[1][0])
    done = cli.run("verify")
    assert done.code == 1
    assert "FAIL" in done.out
    wrong = cli.run("--json", "verify").json
    assert (wrong["ok"], len(wrong["findings"])) == (False, len(done.out.splitlines()) - 1)


def test_bench_measures_and_leaves_nothing(either: Command) -> None:
    rows = either.ok("--json", "bench", "--events", "400").items
    assert rows[0]["ratio"] == 1.0
    assert all(row["events_per_second"] > 0 for row in rows)
    assert either.ok("--json", "streams").items == []
    assert "RATIO" in either.ok("bench", "--events", "400").out


def test_a_job_that_is_not_there_ends_with_4(cli: Command) -> None:
    missing = cli.run("jobs", "show", "0199f2c4")
    assert missing.code == 4
    assert missing.err.startswith("error: job-not-found: there is no job 0199f2c4\n  field: ID\n")
    assert cli.run("jobs", "cancel", "0199f2c4").code == 4


def test_a_job_that_has_ended_cannot_be_cancelled(cli: Command) -> None:
    job = cli.ok("import", "-", "--json", stdin='{"type": "T", "stream": "s", "data": 1}').json["job"]
    ended = cli.run("jobs", "cancel", job)
    assert ended.code == 1
    assert ended.err.startswith(f"error: wrong-state: job {job} is done\n")
    shown = cli.ok("jobs", job[:6]).out
    assert f"job            {job}\n" in shown
    assert "state          done\n" in shown


def test_up_holds_the_server_that_others_use(embedded: Command) -> None:
    up = embedded.start("up")
    url = wait_for_line(up, "eventstore is up at ").split()[-1]
    assert url.startswith("unix://")
    assert wait_for_line(up, "stop it") == "stop it with Ctrl-C\n"
    embedded.ok("publish", "order-42", "T")
    first = embedded.ok("--json", "log").json
    embedded.ok("publish", "order-42", "T")
    assert [h["epochs"] for h in embedded.ok("--json", "log").json["heads"]] == [h["epochs"] for h in first["heads"]]
    code, out, err = interrupt(up)
    assert (code, out, err) == (0, "", "stopping: running handlers may finish\n")
    assert len(embedded.ok("read", "order-42", "--json").items) == 2


def test_up_ends_on_sigterm_too_and_says_what_is_up_in_json(embedded: Command) -> None:
    up = embedded.start("up", "--json", "--app", "examples.docs_consistency.events")
    line = wait_for_line(up, "{")
    assert '"partitions":4' in line
    assert "DocumentAdded" in line
    assert interrupt(up, signal.SIGTERM)[0] == 0


def test_up_starts_a_server_that_was_killed_again(embedded: Command) -> None:
    up = embedded.start("up")
    wait_for_line(up, "eventstore is up at ")
    embedded.ok("publish", "order-42", "T")
    lock = embedded.folder / ".eventstore" / "lock"
    before = int(lock.read_text())
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: lock.read_text() not in {"", str(before)})
    assert len(embedded.ok("read", "order-42", "--json").items) == 1
    assert interrupt(up)[0] == 0


def test_up_on_a_configured_server_shows_it_without_its_password(cli: Command, server: Server) -> None:
    up = cli.start("up")
    assert wait_for_line(up, "eventstore is up at ").split()[-1] == server.url
    assert interrupt(up)[0] == 0
