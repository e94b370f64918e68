"""That `make bench` runs and tells what it says; how fast anything is, is never asserted."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import log
from benchmarks.measure import CountWrong, Outcome, Ratio, Sample, check_count, ratio
from benchmarks.payload import order, to_json
from benchmarks.peers.redis_benchmark import redis_benchmark

LOADS = ("1 task", "50 tasks", "8 tasks, batches of 100", "2 processes of 1 task")
APPENDS = [f"append, {load}, {level}" for level in ("fsync always", "memory") for load in LOADS]
READS = ["read one stream", "read one partition", "read all partitions"]
ON_REDIS = "redis-py,redis-benchmark"  # what needs no package of its own


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def quick_run(folder: Path) -> dict[str, Any]:
    assert _quick(folder, "log.json", "--peers", ON_REDIS) == 0
    return msgspec.json.decode((folder / "log.json").read_bytes(), type=dict[str, Any])


def _quick(folder: Path, name: str, *options: str) -> int:
    return log.main(["--quick", "--json", str(folder / name), "--dir", str(folder / "data"), *options])


def test_a_quick_run_has_every_case(quick_run: dict[str, Any]) -> None:
    titles = [result["title"] for result in quick_run["results"]]
    assert titles == [*APPENDS[:4], *READS, *APPENDS[4:]]


def test_every_figure_is_of_events_that_were_counted(quick_run: dict[str, Any]) -> None:
    for result in quick_run["results"]:
        for contestant in result["contestants"]:
            assert len(contestant["samples"]) == quick_run["rounds"] == 1
            for sample in contestant["samples"]:
                assert sample["events"] > 0
                assert contestant["events_per_second"] == pytest.approx(sample["events"] / sample["seconds"])
                assert contestant["server_cpu_us_per_event"] >= 0


def test_every_append_tells_how_long_its_calls_took(quick_run: dict[str, Any]) -> None:
    for result in quick_run["results"][:4]:
        for contestant in result["contestants"]:
            latency = contestant["latency"]
            assert 0 < latency["p50_ms"] <= latency["p99_ms"]
            if not contestant["name"].startswith("redis-benchmark"):  # which does not tell
                assert latency["p99_ms"] <= latency["p999_ms"]


def test_every_case_has_the_log_and_its_baselines(quick_run: dict[str, Any]) -> None:
    for result in quick_run["results"]:
        baselines = [c["name"] for c in result["contestants"] if c["baseline"]]
        ours = [c for c in result["contestants"] if not c["baseline"]]
        assert baselines[0].startswith("redis-py")
        if redis_benchmark() and result["title"].startswith("append"):
            assert baselines[1].startswith("redis-benchmark")
        assert ours
        assert all(c["name"].startswith("log") and set(c["ratios"]) == set(baselines) for c in ours)


def test_memory_and_processor_time_are_compared_with_bare_xadd(quick_run: dict[str, Any]) -> None:
    titles = [cost["title"] for cost in quick_run["costs"]]
    assert titles[0] == "memory of the server, 100 streams of 10"
    assert [title for title in titles if "50 tasks" in title] == [
        "processor time of the server, append, 50 tasks, 16 partitions",
        "processor time of the server, append, 50 tasks, 1 partition",
    ]
    for cost in quick_run["costs"]:
        assert all(value > 0 for price in (*cost["ours"], cost["baseline"]) for value in price["values"])


def test_each_target_is_judged_or_named_as_not_measured(quick_run: dict[str, Any]) -> None:
    says = {(v["target"]["title"], v["target"]["baseline"]): v["says"] for v in quick_run["verdicts"]}
    assert says["append, 50 tasks, fsync always", "UmaDB"] == "not measured"
    assert says["append, 8 tasks, batches of 100, fsync always", "redis-py, bare XADD"] != "not measured"
    assert says["read all partitions", "redis-py, XRANGE 1000 + decode of data"] != "not measured"


def test_the_machine_is_named(quick_run: dict[str, Any]) -> None:
    machine = quick_run["machine"]
    assert machine["cores"] >= 1
    assert machine["python"].startswith(("CPython 3.", "PyPy 3."))
    assert machine["server"].startswith(("Valkey ", "Redis "))
    assert "Loop" in machine["event_loop"]


def test_the_table_names_the_baseline_of_each_ratio(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _quick(folder, "one.json", "--only", ", 50 tasks, memory", "--peers", ON_REDIS) == 0
    printed = capsys.readouterr().out.splitlines()
    assert any(line.startswith("append, 50 tasks, memory") for line in printed)
    assert any("[1] log, 16 partitions, exact version" in line for line in printed)
    theirs = next(line for line in printed if line.startswith("  redis-py, bare XADD"))
    assert re.search(r"\[1\] [\d.]+x  \[2\] [\d.]+x  \[3\] [\d.]+x$", theirs)


def test_nothing_is_left_behind(quick_run: dict[str, Any], folder: Path) -> None:
    assert list((folder / "data").iterdir()) == []


def test_a_case_that_does_not_exist_is_named(folder: Path) -> None:
    with pytest.raises(SystemExit, match="no case has 'nonsense'"):
        _quick(folder, "x.json", "--only", "nonsense", "--peers", ON_REDIS)


def test_a_peer_that_does_not_exist_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        _quick(folder, "x.json", "--peers", "umadb,nonsense")
    assert "nonsense: there are redis-py" in capsys.readouterr().err


def test_a_ratio_compares_the_same_round() -> None:
    # The machine was twice as busy in the second round; the log was a quarter slower in both.
    ours = Outcome("log", False, [Sample(300, 1.0, 0, 0), Sample(150, 1.0, 0, 0)])
    theirs = Outcome("XADD", True, [Sample(400, 1.0, 0, 0), Sample(200, 1.0, 0, 0)])
    assert ratio(ours, theirs) == Ratio(0.75, 0.75, 0.75)


def test_a_missing_event_ends_the_run() -> None:
    with pytest.raises(CountWrong, match="99 events are there, 100"):
        check_count("the log", 99, 100)


def test_the_payload_has_280_bytes_of_json() -> None:
    assert 275 <= len(to_json(order(1))) <= len(to_json(order(99_999))) <= 285
