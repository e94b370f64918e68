"""The client of the server, loaded without what it takes along for no use of a command.

structlog takes rich to colour tracebacks, and redis takes OpenTelemetry for metrics, wherever these are installed. Both
do without: 0.8 s of processor time from start to answer instead of 1.1 s (`streams`, Python 3.11).
"""

import sys
from importlib import import_module

NOT_NEEDED = ("rich", "opentelemetry")


def load_client() -> None:
    """To be called before anything of the packages below is imported; not where code of the user's runs, which may want
    what is left out here."""
    hidden = [name for name in NOT_NEEDED if name not in sys.modules]
    modules: dict[str, object] = sys.modules  # type: ignore[assignment] # None marks what cannot be imported
    modules.update(dict.fromkeys(hidden))
    try:
        for name in ("redis.asyncio", "structlog"):
            import_module(name)
    finally:
        for name in hidden:
            del modules[name]
