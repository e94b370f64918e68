"""What all tests share: the event loop, and the rule about tests that could not run.

A test may call `pytest.skip` for a service or program that the machine lacks, and for nothing else. With REQUIRE_ALL=1,
as in CI, such a test fails, so that no service goes missing unseen. A test that has no meaning on a machine (a
system call of another platform) says so: the reason begins with "not applicable".
"""

import os
from collections.abc import Generator, Iterator

import pytest
import structlog

_REQUIRE_ALL = os.environ.get("REQUIRE_ALL") == "1"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def usual_logs() -> Iterator[None]:
    """A command that a test has run in this process has set up logs for itself, which would stay."""
    yield
    structlog.reset_defaults()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_if_required(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_required(report)
    return report


def _fail_if_required(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not _REQUIRE_ALL or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.removeprefix("Skipped: ").startswith("not applicable"):
        report.outcome = "failed"
        report.longrepr = f"REQUIRE_ALL=1, and this could not run: {reason}"
