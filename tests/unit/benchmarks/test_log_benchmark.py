"""That `make bench` runs and tells what it says; how fast anything is, is never asserted."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import log
from benchmarks.baselines import redis_benchmark
from benchmarks.measure import CountWrong, Outcome, Ratio, Sample, check_count, ratio
from benchmarks.payload import order, to_json

LOADS = ("1 task", "50 tasks", "500 tasks", "8 tasks, batches of 100")
APPENDS = [f"append, {load}, {level}" for level in ("fsync always", "memory") for load in LOADS]
READS = ["read one stream", "read one partition", "read all partitions"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def quick_run(folder: Path) -> dict[str, Any]:
    assert log.main(["--quick", "--json", str(folder / "log.json"), "--dir", str(folder / "data")]) == 0
    return msgspec.json.decode((folder / "log.json").read_bytes(), type=dict[str, Any])


def test_a_quick_run_has_every_case(quick_run: dict[str, Any]) -> None:
    assert [result["title"] for result in quick_run["results"]] == [*APPENDS, *READS]


def test_every_figure_is_of_events_that_were_counted(quick_run: dict[str, Any]) -> None:
    for result in quick_run["results"]:
        for contestant in result["contestants"]:
            assert len(contestant["samples"]) == quick_run["rounds"] == 1
            for sample in contestant["samples"]:
                assert sample["events"] > 0
                assert contestant["events_per_second"] == pytest.approx(sample["events"] / sample["seconds"])
                assert contestant["server_cpu_us_per_event"] >= 0


def test_every_case_has_the_log_and_its_baselines(quick_run: dict[str, Any]) -> None:
    for result in quick_run["results"]:
        baselines = [c["name"] for c in result["contestants"] if c["baseline"]]
        ours = [c for c in result["contestants"] if not c["baseline"]]
        assert baselines[0].startswith("redis-py")
        if redis_benchmark() and result["title"].startswith("append"):
            assert baselines[1].startswith("redis-benchmark")
        assert ours
        assert all(c["name"].startswith("log") and set(c["ratios"]) == set(baselines) for c in ours)


def test_the_machine_is_named(quick_run: dict[str, Any]) -> None:
    machine = quick_run["machine"]
    assert machine["cores"] >= 1
    assert machine["python"].startswith(("CPython 3.", "PyPy 3."))
    assert machine["server"].startswith(("Valkey ", "Redis "))
    assert "Loop" in machine["event_loop"]


def test_the_table_names_the_baseline_of_each_ratio(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["--quick", "--only", "50 tasks, memory", "--json", str(folder / "one.json"), "--dir", str(folder / "data")]
    assert log.main(run) == 0
    printed = capsys.readouterr().out
    assert "append, 50 tasks, memory" in printed
    assert "[1] redis-py, one XADD per task" in printed
    ours = next(line for line in printed.splitlines() if "log, 16 partitions, exact version" in line)
    assert ours.endswith(") [2]" if redis_benchmark() else ") [1]")


def test_nothing_is_left_behind(quick_run: dict[str, Any], folder: Path) -> None:
    assert list((folder / "data").iterdir()) == []


def test_a_case_that_does_not_exist_is_named(folder: Path) -> None:
    with pytest.raises(SystemExit, match="no case has 'nonsense'"):
        log.main(["--quick", "--only", "nonsense", "--json", str(folder / "x.json"), "--dir", str(folder / "data")])


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
