"""Projections: read models that follow the log, exactly once, and are rebuilt beside what is read."""

from projections.projection import Projection, projection
from projections.rows import Rows
from projections.sink import redis, sql

__all__ = ["Projection", "Rows", "projection", "redis", "sql"]
