"""Projections: read models that follow the log, exactly once, and are rebuilt beside what is read."""

from projections.errors import ProjectionNotFound, ReadModelBehind, ReadModelUnavailable
from projections.model import ReadModel, query
from projections.projection import Projection, projection
from projections.rows import Rows
from projections.sink import redis, sql
from projections.testing import given

__all__ = [
    "Projection",
    "ProjectionNotFound",
    "ReadModel",
    "ReadModelBehind",
    "ReadModelUnavailable",
    "Rows",
    "given",
    "projection",
    "query",
    "redis",
    "sql",
]
