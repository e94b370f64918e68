"""That the benchmark of scheduled events runs and tells what it says; how late anything is, is never asserted."""

from pathlib import Path

import msgspec
import pytest

from benchmarks import timers


def test_a_quick_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--rate", "200", "--seconds", "0.5", "--waiting", "300", "--settle", "0.2", "--idle", "0.2"]
    assert timers.main([*size, "--json", str(tmp_path / "timers.json"), "--dir", str(tmp_path)]) == 0
    report = msgspec.json.decode((tmp_path / "timers.json").read_bytes(), type=timers.Report)
    assert [(each.level, each.rate, each.events) for each in report.lateness] == [
        ("memory", 200, 100),
        ("fsync", 200, 100),
    ]
    assert all(0 <= each.p50 <= each.p99 <= each.p999 <= each.most for each in report.lateness)
    assert report.waiting.events == 300
    assert report.waiting.bytes_each > 300
    assert "commands a second of a worker that waits" in capsys.readouterr().out
