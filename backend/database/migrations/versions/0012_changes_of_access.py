"""A number that grows with every change of tokens, sessions or users' keys, and with no other write to an SQLite file.

It does not grow when a token, a session or a key is merely used.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_TABLE = "access_changes"
_OF = ("access_tokens", "login_sessions", "user_keys", "key_owners")
_EVENTS = ("INSERT", "UPDATE", "DELETE")
_USE = "last_used_at"


def upgrade() -> None:
    op.create_table(
        _TABLE,
        sa.Column("number", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_access_changes")),
    )
    op.execute("INSERT INTO access_changes (number) VALUES (0)")
    if op.get_bind().dialect.name != "sqlite":  # PostgreSQL tells of changes by itself
        return
    for table in _OF:
        for event in _EVENTS:
            columns = f" OF {', '.join(_columns(table))}" if event == "UPDATE" else ""
            op.execute(
                f"CREATE TRIGGER {_name(table, event)} AFTER {event}{columns} ON {table} "  # noqa: S608 - names of ours
                f"BEGIN UPDATE {_TABLE} SET number = number + 1; END"
            )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table in _OF:
            for event in _EVENTS:
                op.execute(f"DROP TRIGGER {_name(table, event)}")
    op.drop_table(_TABLE)


def _columns(table: str) -> list[str]:
    return [each["name"] for each in sa.inspect(op.get_bind()).get_columns(table) if each["name"] != _USE]


def _name(table: str, event: str) -> str:
    return f"{table}_{event.lower()}_is_counted"
