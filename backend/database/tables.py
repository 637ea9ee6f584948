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
    """A column type for timezone-aware datetimes. They are stored in UTC, because SQLite stores no time zone.

    Raises:
        ValueError: A datetime without a time zone is to be stored.
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
    """The SQLAlchemy base class of all tables. Constraints get names, so that migrations can change them."""

    metadata = MetaData(
        naming_convention={
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class ConversationRow(Base):
    """A conversation. ``document`` is the whole conversation as JSON; the other columns are copies for queries."""

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
    """An access token, of which only a hash is stored.

    ``scopes`` are separated by spaces. ``rate`` is a rate limit as written in the configuration, such as
    ``60/minute``.
    """

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
    """A browser session. Only a hash of its cookie is stored.

    The row is deleted with the access token that opened the session.
    """

    __tablename__ = "login_sessions"

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str]
    token_id: Mapped[str | None] = mapped_column(ForeignKey(AccessTokenRow.id, ondelete="CASCADE"))
    hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime] = mapped_column(UtcDateTime)


class UserKeyRow(Base):
    """One version of a user's key for a provider, encrypted.

    It can be decrypted only together with the row's own id, tenant, user, provider and server.
    """

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


class UserKeySettingsRow(Base):
    """A user's settings for their own keys: whether the operator's keys may pay when the user's keys cannot."""

    __tablename__ = "key_owners"

    user_id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    house_fallback: Mapped[bool]


class AccessChangeCounterRow(Base):
    """A counter that grows with each change of a token, a session or a user's key.

    Caches read it to notice changes. In SQLite, triggers increment it.
    """

    __tablename__ = "access_changes"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class KeyNotificationRow(Base):
    """The last day on which a key's owner was notified that a provider refuses the key for this reason."""

    __tablename__ = "key_notices"

    key_id: Mapped[str] = mapped_column(ForeignKey(UserKeyRow.id, ondelete="CASCADE"), primary_key=True)
    reason: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date]


class KeyRemovalRow(Base):
    """The removal of a user's key. Other processes read the new rows, and stop using the removed keys.

    Numbers are not reused.
    """

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
    """A temporary override of the configuration table. The row stays after the override has ended."""

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
    """An entry of the audit trail: one link of a hash chain. Triggers reject updates and deletions."""

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
    """The end of a hash chain of the audit trail or the ledger: the number and the hash of its last link.

    ``signed`` is the number of the last link that is covered by a signature.
    """

    __tablename__ = "audit_chains"

    chain: Mapped[str] = mapped_column(primary_key=True)
    writer: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str]
    signed: Mapped[int] = mapped_column(BigInteger)


class AuditHeadRow(Base):
    """A signature over the ends of the hash chains that had grown (a signed head).

    Triggers reject updates and deletions.
    """

    __tablename__ = "audit_heads"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[int] = mapped_column(BigInteger)
    tips: Mapped[str] = mapped_column(Text)
    previous: Mapped[str]
    key: Mapped[str]
    hash: Mapped[str]
    signature: Mapped[str]
