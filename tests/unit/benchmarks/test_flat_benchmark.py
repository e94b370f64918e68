"""That the benchmark of long logs runs and tells what it says; how flat anything is, is never asserted."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import flat
from benchmarks.flat_report import Stage, costs
from benchmarks.measure import Outcome, Ratio, Result, Sample

SIZES = [10_000, 20_000]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flat")


@pytest.fixture(scope="module")
def quick_run(folder: Path) -> dict[str, Any]:
    size = ["--events", str(SIZES[-1]), "--streams", "1000", "--calls", "50", "--rounds", "2"]
    assert flat.main([*size, "--json", str(folder / "flat.json"), "--dir", str(folder / "data")]) == 0
    return msgspec.json.decode((folder / "flat.json").read_bytes(), type=dict[str, Any])


def test_each_size_is_measured_with_its_streams(quick_run: dict[str, Any]) -> None:
    first, last = quick_run["stages"]
    assert (first["events"], first["streams"]) == (10_000, 500)
    # beside what was filled: what the first size was appended to in two ways, two rounds of 50 each
    assert (last["events"], last["streams"]) == (20_000 + 2 * 2 * 50, 1_000)
    assert 0 < last["bytes_per_event"] < 1_000


def test_every_kind_of_call_is_beside_the_short_log(quick_run: dict[str, Any]) -> None:
    for stage in quick_run["stages"]:
        titles = ["append, exact version", "append, any version", "read a stream of 20"]
        assert [cost["title"] for cost in stage["costs"]] == titles
        for result in stage["results"]:
            assert [outcome["baseline"] for outcome in result["outcomes"]] == [False, True]
            assert all(len(outcome["samples"]) == 2 for outcome in result["outcomes"])
            assert {sample["events"] for outcome in result["outcomes"] for sample in outcome["samples"]} == {50}


def test_nothing_is_left_behind(quick_run: dict[str, Any], folder: Path) -> None:
    assert list((folder / "data").iterdir()) == []


def test_a_cost_is_compared_round_by_round() -> None:
    # the machine was twice as slow in the second round; the long log took a quarter more in both
    long = Outcome("this log", False, [Sample(100, 1.0, 0.5, 0), Sample(100, 2.0, 1.0, 0)])
    short = Outcome("10,000 events", True, [Sample(100, 1.0, 0.4, 0), Sample(100, 2.0, 0.8, 0)])
    (cost,) = costs(Stage(10_000, 1_000, 1.0, 1.0, [Result("append", [long, short])]))
    assert (cost.server_ratio, cost.wall_ratio) == (Ratio(1.25, 1.25, 1.25), Ratio(1.0, 1.0, 1.0))
    assert cost.server_us == pytest.approx(7_500)


@pytest.mark.parametrize("wrong", [["--events", "9999"], ["--streams", "100"], ["--calls", "10"]])
def test_a_size_that_cannot_be_compared_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        flat.main(wrong)
    assert "at least 10,000 events and 50 calls, 1 to 100 events a stream" in capsys.readouterr().err
