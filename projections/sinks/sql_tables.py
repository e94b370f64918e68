"""The tables of an SQL sink: its own, and those of each generation."""

import re
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from eventstore.errors import InvalidRequest
from projections.generations import physical

LONGEST, LONGEST_NAME = 63, 50
"""Bytes of a name in PostgreSQL, and of a table here."""
GENERATION = ("projection", "generation")
PART = (*GENERATION, "partition")
"""The columns by which the rows of a generation are found, or of a part of one."""


def _key(names: tuple[str, ...]) -> list[sa.Column[Any]]:
    """The beginning of a primary key."""
    return [sa.Column(name, sa.Text if name == "projection" else sa.Integer, primary_key=True) for name in names]


own = sa.MetaData()
generations = sa.Table(
    "eventstore_generations",
    own,
    *_key(GENERATION),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("begun_at", sa.BigInteger, nullable=False),
    sa.Column("diverged", sa.Boolean, nullable=False, default=False),
    sa.Column("tables", sa.Text, nullable=False),
)
checkpoints = sa.Table(
    "eventstore_checkpoints",
    own,
    *_key(PART),
    sa.Column("term", sa.BigInteger, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("chain", sa.Text, nullable=False),
)
detached = sa.Table(
    "eventstore_detached",
    own,
    *_key(PART),
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("packed", sa.Text, nullable=False),
)


def of_generation(tables: tuple[sa.Table, ...], generation: int) -> dict[str, sa.Table]:
    """Copies of the tables of a projection, under the names of a generation."""
    metadata = sa.MetaData()
    return {table.name: _copy(table, metadata, generation) for table in tables}


def check_tables(tables: tuple[object, ...]) -> tuple[sa.Table, ...]:
    """Raises InvalidRequest for what no read model can be made of."""
    found: list[sa.Table] = []
    for table in tables:
        if not isinstance(table, sa.Table):
            raise InvalidRequest(f"{table!r:.80} is no table", field="tables", remedy="sql(sqlalchemy.Table(...))")
        if table.foreign_keys:
            raise InvalidRequest(
                f"table {table.name} has a foreign key",
                field="tables",
                remedy="leave it out: generations of a read model are built and dropped side by side",
            )
        _check_name(table.name, found)
        if any(isinstance(column.type, sa.Enum) and column.type.native_enum for column in table.columns):
            raise InvalidRequest(
                f"table {table.name} has an enumeration that would be a type of the database",
                field="tables",
                remedy="Enum(..., native_enum=False): one type of all generations could not change with a version",
            )
        if table.schema is not None:
            raise InvalidRequest(f"table {table.name} has a schema", field="tables", remedy="leave schema= out")
        found.append(table)
    if not found:
        raise InvalidRequest("a read model has at least one table", field="tables", remedy="sql(Table(...))")
    return tuple(found)


def _check_name(name: str, others: list[sa.Table]) -> None:
    if len(name.encode()) > LONGEST_NAME:
        why, remedy = f"is longer than {LONGEST_NAME} bytes", "a shorter one: each generation appends its number"
    elif name.startswith("eventstore_") or "," in name or re.search(r"__\d+$", name):
        why, remedy = "is of those that projections need", 'one without comma, "eventstore_" before or "__1" behind'
    elif any(name.lower() == other.name.lower() for other in others):
        why, remedy = "is given twice", "one for each table"
    else:
        return
    raise InvalidRequest(f"the name of table {name:.80} {why}", field="tables", remedy=remedy)


def _copy(table: sa.Table, metadata: sa.MetaData, generation: int) -> sa.Table:
    copy = table.to_metadata(metadata, name=physical(table.name, generation))
    for index in copy.indexes:  # their names are one for all tables of a database
        if index.name is not None:
            index.name = sa.quoted_name(_short(physical(str(index.name), generation)), None)
    for constraint in copy.constraints:
        if constraint.name is not None:
            constraint.name = sa.quoted_name(_short(physical(str(constraint.name), generation)), None)
    return copy


def _short(name: str) -> str:
    """As long as PostgreSQL allows."""
    if len(name.encode()) <= LONGEST:
        return name
    return f"{name.encode()[: LONGEST - 17].decode(errors='ignore')}_{sha256(name.encode()).hexdigest()[:16]}"
