"""What `make bench ARGS=--publish` writes into the documentation, and how a target is judged."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.costs import Cost, Price
from benchmarks.field import Missing
from benchmarks.log_appends import ONE_PARTITION, REFERENCE
from benchmarks.machine import Machine
from benchmarks.measure import Latency, Outcome, Result, Sample
from benchmarks.published import BEGIN, END, as_markdown, publish
from benchmarks.report import Report
from benchmarks.targets import verdicts

MACHINE = Machine(2, "Linux x86_64", "CPython 3.11.7", "asyncio Loop", "Valkey 9.1.2", "8.1.0", "3.5.0", 0.5, 160.0)
TITLE = "append, 50 tasks, fsync always"
CPU = "processor time of the server, append, 50 tasks, 16 partitions"


def _outcome(name: str, *rates: float, baseline: bool = False) -> Outcome:
    latency = Latency(1.5, 20.0, None if baseline else 31.0)
    return Outcome(name, baseline, [Sample(1_000, 1_000 / rate, 0.01, 0.02, latency) for rate in rates])


def _report(one_partition: float = 24_000) -> Report:
    outcomes = [
        _outcome(REFERENCE, 18_000, 21_000, 16_000),
        _outcome(ONE_PARTITION, one_partition, one_partition, one_partition),
        _outcome("UmaDB", 10_000, 10_000, 10_000, baseline=True),
    ]
    results = [Result(TITLE, outcomes)]
    costs = [Cost(CPU, "us/event", [Price("log, exact version", [15.0])], Price("bare XADD in a script", [10.0]))]
    missing = [Missing("umadb", "memory", "has no mode without syncing")]
    return Report(MACHINE, {"umadb": "0.7.8"}, 3, results, costs, [], missing, verdicts(results, costs))


def test_a_target_is_reached_by_what_a_user_gets_by_default() -> None:
    says = {(v.target.title, v.target.baseline): v.says for v in _report().verdicts}
    assert says[TITLE, "UmaDB"] == f"missed; reached by: {ONE_PARTITION}"
    assert says[TITLE, "eventsourcing on PostgreSQL"] == "not measured"
    assert says[CPU, "a bare XADD in a script"] == "reached"
    says = {(v.target.title, v.target.baseline): v.says for v in _report(one_partition=19_000).verdicts}
    assert says[TITLE, "UmaDB"] == "missed"


def test_the_page_has_ratios_latencies_and_who_is_missing() -> None:
    written = as_markdown(_report())
    assert "| [1] log, 16 partitions, exact version | 18,000 | 1.50 | 20 | 31 | 10.0 | 20.0 |  |  |" in written
    assert "| UmaDB | 10,000 | 1.50 | 20 | - | 10.0 | 20.0 | 1.80x (1.60-2.10) | 2.40x |" in written
    assert f"| {TITLE} | UmaDB | at least 2x | 1.80x / 2.40x | missed; reached by: {ONE_PARTITION} |" in written
    assert "| log, exact version | 15.0 | 1.50x |  |" in written
    assert "- not here: umadb, memory: has no mode without syncing" in written


def test_the_results_land_between_the_marks_of_the_page(tmp_path: Path) -> None:
    if find_spec("matplotlib") is None:
        pytest.skip("not applicable: matplotlib is not installed")
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        publish(_report(), tmp_path)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\nThe machine: cores 2")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert (tmp_path / "benchmarks.png").read_bytes().startswith(b"\x89PNG")


def test_a_page_without_the_marks_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "benchmarks.md").write_text("mine\n")
    with pytest.raises(ValueError, match="results: begin"):
        publish(_report(), tmp_path)
    assert (tmp_path / "benchmarks.md").read_text() == "mine\n"
