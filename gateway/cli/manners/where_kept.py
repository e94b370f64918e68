"""The flags that say where read models are."""

from dataclasses import dataclass

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Kept:
    """What commands take that see or steer read models."""

    app: str | None = None
    """A module whose projections may name a database of their own."""

    database: str | None = None
    """Another database than that of the settings, as a URL."""


SETTINGS = Kept()
"""Neither given."""
