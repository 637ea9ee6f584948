"""The SQLAlchemy tables. `migrations` creates them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, DateTime, ForeignKey, Index, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator
from typing_extensions import override

from backend.keys.problem import Reason
from backend.utils.llm.budgets import BudgetPeriod

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect


class UtcDateTime(TypeDecorator[datetime]):
    """A column of timezone-aware datetimes. They are stored in UTC, because SQLite stores no offset.

    Raises:
        ValueError: The time has no time zone.
    """

    impl = DateTime
    cache_ok = True

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no UTC offset, so it does not name a moment")
        return value.astimezone(UTC).replace(tzinfo=None)

    @override
    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """The base of every table. Constraints have names, so that migrations can alter them."""

    metadata = MetaData(
        naming_convention={
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class ConversationRow(Base):
    """A conversation: as JSON in ``document``, with copies of the fields by which rows are found."""

    __tablename__ = "conversations"

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str]
    tenant_id: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    status: Mapped[str]
    title: Mapped[str | None]
    document: Mapped[str] = mapped_column(Text)


Index(
    "ix_conversations_newest_of_user",
    ConversationRow.user_id,
    ConversationRow.tenant_id,
    ConversationRow.created_at.desc(),
    ConversationRow.id,
)


class AccessTokenRow(Base):
    """An access token: only its hash. ``scopes`` are separated by blanks; ``rate`` is as written in a table."""

    __tablename__ = "access_tokens"

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str]
    tenant_id: Mapped[str] = mapped_column(server_default="")
    name: Mapped[str]
    scopes: Mapped[str] = mapped_column(server_default="call")
    rate: Mapped[str | None]
    budget_usd: Mapped[str | None]
    budget_period: Mapped[BudgetPeriod | None] = mapped_column(String)
    hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class LoginSessionRow(Base):
    """A browser session. Only a hash of its cookie is stored. The row is deleted with the token that opened the session."""

    __tablename__ = "login_sessions"

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str]
    token_id: Mapped[str | None] = mapped_column(ForeignKey(AccessTokenRow.id, ondelete="CASCADE"))
    hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime] = mapped_column(UtcDateTime)


class UserKeyRow(Base):
    """One version of a user's key for a provider: encrypted, and bound to the columns with its owner, provider and server."""

    __tablename__ = "user_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    user_id: Mapped[str]
    provider: Mapped[str]
    base_url: Mapped[str | None]
    model: Mapped[str | None]
    master: Mapped[str]
    wrapped: Mapped[bytes]
    box: Mapped[bytes | None]
    fingerprint: Mapped[str]
    tail: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    valid_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    trouble_reason: Mapped[Reason | None] = mapped_column(String)
    trouble_endpoint: Mapped[str | None]
    trouble_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    trouble_last: Mapped[datetime | None] = mapped_column(UtcDateTime)


class KeyOwnerRow(Base):
    """A user's setting for all of their keys: whether the operator's keys may pay when their own cannot serve."""

    __tablename__ = "key_owners"

    user_id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    house_fallback: Mapped[bool]


class AccessChangesRow(Base):
    """A counter of the changes of tokens, sessions and users' keys, by which caches notice a change.

    In SQLite, triggers count.
    """

    __tablename__ = "access_changes"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class KeyNoticeRow(Base):
    """The day on which the owner of a key was last notified that it is refused. It is deleted with the key."""

    __tablename__ = "key_notices"

    key_id: Mapped[str] = mapped_column(ForeignKey(UserKeyRow.id, ondelete="CASCADE"), primary_key=True)
    reason: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date]


class KeyRemovalRow(Base):
    """The removal of a key, from which other processes learn to stop using it. Numbers are never used again."""

    __tablename__ = "key_removals"
    __table_args__ = ({"sqlite_autoincrement": True},)

    number: Mapped[int] = mapped_column(primary_key=True)
    key_id: Mapped[str]
    removed_at: Mapped[datetime] = mapped_column(UtcDateTime)


Index("ix_user_keys_of_user", UserKeyRow.user_id, UserKeyRow.tenant_id, UserKeyRow.provider)
Index(
    "uq_user_keys_current",
    UserKeyRow.user_id,
    UserKeyRow.tenant_id,
    UserKeyRow.provider,
    unique=True,
    sqlite_where=UserKeyRow.valid_until.is_(None),
    postgresql_where=UserKeyRow.valid_until.is_(None),
)


class OverrideRow(Base):
    """An override of the table, stored until its end and after it."""

    __tablename__ = "overrides"

    id: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str]
    links: Mapped[str] = mapped_column(Text)
    author: Mapped[str]
    reason: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    until: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_by: Mapped[str | None]


_NOT_ENDED = OverrideRow.ended_at.is_(None)
Index(
    "uq_overrides_holding",
    OverrideRow.subject,
    unique=True,
    sqlite_where=_NOT_ENDED,
    postgresql_where=_NOT_ENDED,
)


class AuditEntryRow(Base):
    """One entry of the audit trail, as a link of its chain. Triggers refuse to change or delete a row."""

    __tablename__ = "audit_entries"

    writer: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str]
    kind: Mapped[str]
    subject: Mapped[str]
    details: Mapped[str] = mapped_column(Text)
    previous: Mapped[str]
    hash: Mapped[str]


Index("ix_audit_entries_at", AuditEntryRow.at)


class AuditChainRow(Base):
    """The length of a chain of the audit trail or the ledger, and up to which link heads have signed it."""

    __tablename__ = "audit_chains"

    chain: Mapped[str] = mapped_column(primary_key=True)
    writer: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str]
    signed: Mapped[int] = mapped_column(BigInteger)


class AuditHeadRow(Base):
    """A signed head of the audit trail. Triggers refuse to change or delete a row."""

    __tablename__ = "audit_heads"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[int] = mapped_column(BigInteger)
    tips: Mapped[str] = mapped_column(Text)
    previous: Mapped[str]
    key: Mapped[str]
    hash: Mapped[str]
    signature: Mapped[str]
