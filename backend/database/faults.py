"""Tells exceptions of an unusable database from those of a wrong request."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError


def is_unavailable(error: Exception) -> bool:
    """Whether it is locked, full, read-only, gone, replaced or damaged, or has no connection free."""
    # One that is damaged is told by the base of all errors itself.
    unusable = OperationalError | NoConnectionError | sqlite3.OperationalError
    return isinstance(error, unusable) or type(error) in {DatabaseError, sqlite3.DatabaseError}
