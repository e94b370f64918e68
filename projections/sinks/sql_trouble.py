"""Whether the database is in trouble, which may pass, or was asked for what it will never do.

The classes of exceptions do not tell: a key that is too long for an index of PostgreSQL, and a slip in the SQL for
SQLite, are OperationalErrors like a lost connection; a value that a driver cannot convert is no error of SQL at all.
"""

import sqlite3

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

_CLASSES = frozenset(("08", "25", "40", "53", "55", "57", "58", "XX"))
"""Of SQLSTATE: connections, transactions (a standby takes no writes), serialization, resources, locks, operators, the
system, bugs."""
_OF_STATEMENT = frozenset((sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE))


def may_pass(error: Exception) -> bool:
    """Whether the same may succeed later."""
    if isinstance(error, NoConnectionFree):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state)[:2] in _CLASSES
    code = getattr(error.orig, "sqlite_errorcode", None)
    is_trouble = isinstance(error, OperationalError | InterfaceError)
    return is_trouble and (code is None or code & 0xFF not in _OF_STATEMENT)
