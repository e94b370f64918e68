"""What `make bench-sagas` times, judges and writes."""

from pathlib import Path

import anyio.lowlevel
import pytest

from benchmarks.findings import Run, publish
from benchmarks.machine import Machine
from benchmarks.measure import Latency, Outcome, Result, Sample
from benchmarks.orchestrating.cases import OURS, POSTGRES, findings, title
from benchmarks.orchestrating.work import Load, measured
from benchmarks.sagas import SECTION

MACHINE = Machine(2, "Linux x86_64", "CPython 3.11.7", "asyncio Loop", "Valkey 9.1.2", "8.1.0", "3.5.0", 0.5, 160.0)
MANY = Load(1_000, 1_000)


def _outcome(name: str, *rates: float, baseline: bool = False) -> Outcome:
    return Outcome(name, baseline, [Sample(3_000, 3_000 / rate, 0.1, 0.2, Latency(1.0, 2.0, 3.0)) for rate in rates])


@pytest.mark.anyio
async def test_no_more_are_under_way_at_once_than_were_asked_for() -> None:
    now: list[int] = []
    most = 0

    async def one(number: int) -> None:
        nonlocal most
        now.append(number)
        most = max(most, len(now))
        await anyio.lowlevel.checkpoint()
        now.remove(number)

    done = await measured(Load(50, 7), one)
    assert most == 7
    assert done.sample(Load(50, 7), 1.0).events == 150


@pytest.mark.parametrize(("rates", "says"), [([500.0, 600.0, 700.0], "reached"), ([400.0, 500.0, 400.0], "missed")])
def test_five_times_the_steps_of_the_peer_are_wanted_of_many_at_once(rates: list[float], says: str) -> None:
    outcomes = [_outcome(OURS, *rates), _outcome(POSTGRES, 100.0, 100.0, 100.0, baseline=True)]
    (found,) = findings(Result(title(MANY, "fsync"), outcomes))
    assert (found.says, found.values) == (says, [rate / 100 for rate in rates])
    (alone,) = findings(Result(title(Load(200, 1), "fsync"), outcomes))
    assert alone.target == "-"


def test_a_run_stands_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{SECTION.begin}\nold\n{SECTION.end}\nafter\n")
    result = Result(title(MANY, "fsync"), [_outcome(OURS, 600.0), _outcome(POSTGRES, 100.0, baseline=True)])
    publish(Run(MACHINE, {"dbos": "3.4.0"}, 1, [result], findings(result), []), SECTION, tmp_path)
    written = page.read_text()
    assert written.startswith("before\n")
    assert written.endswith(f"{SECTION.end}\nafter\n")
    assert "old" not in written
    assert "| steps/s |" in written
    assert "6.00x" in written
