"""Where PostgreSQL is installed."""

import os
import shutil
from pathlib import Path

from benchmarks.contender import Absent


def programs() -> Path:
    """The folder of initdb and postgres: POSTGRES_BIN, else that of the newest one installed. Raises Absent."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    on_path = shutil.which("initdb")
    for place in (os.environ.get("POSTGRES_BIN"), *reversed(installed), on_path and Path(on_path).parent):
        if place and Path(place, "initdb").exists():
            return Path(place)
    raise Absent("no PostgreSQL is installed (apt-get install postgresql, or set POSTGRES_BIN)")
