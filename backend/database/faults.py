"""Distinguishes an unavailable database from a wrong SQL statement, by the error."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError


def is_database_unavailable(error: Exception) -> bool:
    """Whether ``error`` means that the database cannot be used now, and not that the statement is wrong.

    It may be locked, full, read-only, missing, replaced or damaged, or have no free connection.
    """
    # One that is damaged is told by the base of all errors itself.
    unusable = OperationalError | NoConnectionError | sqlite3.OperationalError
    return isinstance(error, unusable) or type(error) in {DatabaseError, sqlite3.DatabaseError}
