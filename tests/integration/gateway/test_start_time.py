"""`eventstore --help` comes before a person notices: it loads nothing that takes time."""

import json
import subprocess
import sys

SLOW = {"redis", "cyclopts", "rich", "structlog", "yaml", "eventstore", "anyio"}

PROGRAM = """
import json, sys
from gateway.cli import main
sys.argv = ["eventstore", "--help"]
try:
    main()
except SystemExit:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def test_help_loads_neither_the_client_nor_the_parser() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert "Usage: eventstore" in done.stdout
    assert SLOW & set(json.loads(done.stderr)) == set()
