from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import StatementError

from backend.database.tables import AccessTokenRow

if TYPE_CHECKING:
    from .conftest import Sessions


async def test_a_naive_time_is_refused(sqlite_sessions: Sessions) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - what is refused
    with pytest.raises(StatementError, match="no UTC offset"):
        async with sqlite_sessions.begin() as session:
            session.add(AccessTokenRow(id="a", user_id="u", name="n", hash="h", created_at=naive))
