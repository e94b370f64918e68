"""`python -m examples.docs_consistency [PATH]`: ingest, read, check, report."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import structlog

from examples.docs_consistency.app import Options, run
from infrastructure.errors import EventStoreError, Unavailable

_DESCRIPTION = """Ingests the history of a documentation checkout (or a plain folder) into the event log, keeps a read
model of its documents, checks their links and anchors, and reports. Run again, it goes on where it stopped."""
_EXAMPLE = "example: python -m examples.docs_consistency ~/src/project --html report.html"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 1 failed (or findings, with --strict), 2 usage, 5 no server, 130 interrupted."""
    options = _options(arguments)
    # The report is all that goes to stdout: with --json somebody parses it.
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )
    try:
        return anyio.run(run, options)
    except EventStoreError as error:
        print(f"error: {error.code}: {error.detail}", file=sys.stderr)
        if error.field:
            print(f"  field: {error.field}", file=sys.stderr)
        if error.remedy:
            print(f"  hint:  {error.remedy}", file=sys.stderr)
        return 5 if isinstance(error, Unavailable) else 2 if error.code == "bad-request" else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The interpreter would complain when it flushes what nobody reads.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m examples.docs_consistency", description=_DESCRIPTION, epilog=_EXAMPLE
    )
    add = parser.add_argument
    add("path", nargs="?", type=Path, default=Path(), metavar="PATH", help="a checkout or folder (default: here)")
    add(
        "--data-dir", type=Path, help="home of the log and the read model (default: EVENTSTORE_DATA_DIR or .eventstore)"
    )
    add("--rev", default="HEAD", help="the Git revision to go up to (default: HEAD)")
    add("--html", type=Path, metavar="FILE", help="write the report as one HTML page")
    add("--json", action="store_true", help="print the report as JSON")
    add("--all", action="store_true", help="print all findings, not the first 50")
    add("--tree", action="store_true", help="print the read model's files instead, as git ls-tree -r does")
    add("--strict", action="store_true", help="exit 1 if anything was found")
    add("--adopt", action="store_true", help="take over a log that holds another checkout's documents")
    given = parser.parse_args(arguments)
    return Options(
        path=given.path,
        data_dir=given.data_dir,
        revision=given.rev,
        html=given.html,
        json=given.json,
        all=given.all,
        tree=given.tree,
        strict=given.strict,
        adopt=given.adopt,
    )


if __name__ == "__main__":
    sys.exit(main())
