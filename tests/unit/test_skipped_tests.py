"""The rule of tests/conftest.py: with REQUIRE_ALL=1 a test that could not run fails."""

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_TESTS = """
import pytest

def test_a_service_is_missing():
    pytest.skip("no server")

def test_of_another_platform():
    pytest.skip("not applicable: needs macOS")

@pytest.mark.xfail
def test_a_known_fault():
    assert False
"""
_MODULE = "import pytest\npytest.skip('no server', allow_module_level=True)\n"


def test_what_cannot_run_is_skipped(tmp_path: Path) -> None:
    assert _closing_line(tmp_path, "0").startswith("3 skipped, 1 xfailed in")


def test_what_cannot_run_fails_where_all_is_required(tmp_path: Path) -> None:
    assert _closing_line(tmp_path, "1").startswith("1 failed, 1 skipped, 1 xfailed, 1 error in")


def _closing_line(folder: Path, require_all: str) -> str:
    (folder / "test_sample.py").write_text(_TESTS)
    (folder / "test_module.py").write_text(_MODULE)
    options = ["-q", "-p", "tests.conftest", "--rootdir", str(folder), "--continue-on-collection-errors"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(folder)],
        cwd=_ROOT,
        env={**os.environ, "REQUIRE_ALL": require_all},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip().splitlines()[-1]
