"""Stored overrides: temporary changes of the feature table, validated, stored and applied everywhere."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from typing_extensions import override

from backend.utils.llm.caller import HOUSE
from backend.utils.llm.diagnostics.qos import make_override_infos
from backend.utils.llm.errors import ConfigError, LLMError
from backend.utils.llm.model_config import Override
from backend.utils.llm.routing.plan import plan_route
from backend.utils.llm.routing.route import Needs
from backend.utils.llm.secrets import contains_likely_api_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from backend.utils.llm import Table
    from backend.utils.llm.diagnostics.qos import OverrideInfo
    from backend.utils.llm.model_config import TableSnapshot
    from backend.utils.llm.routing.route import Route

LONGEST: Final = timedelta(days=90)
"""The longest time that an override may hold: a longer change belongs in the table."""
LONGEST_REASON: Final = 300
"""The most characters of a reason."""
_ID_BYTES: Final = 4


class InvalidOverrideError(LLMError):
    """An override does not fit the feature table, or would have no effect. The message lists every problem."""

    code = "invalid_override"
    http_status = 422

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))

    @override
    def as_dict(self) -> dict[str, Any]:
        """The error as a dict for the JSON response, with every problem of the override."""
        return {**super().as_dict(), "problems": list(self.problems)}


class OverrideNotFoundError(LLMError):
    """No override with this id is in effect."""

    code = "override_not_found"
    http_status = 404

    def __init__(self, one: str) -> None:
        super().__init__(f"No override with the id {one!r} holds. `override list` shows those that do.")


class OverrideRecord(NamedTuple):
    """A stored override, active or ended.

    Attributes:
        override: The override.
        ended_at: When the override was reverted, was replaced or expired; None while it is in effect.
        ended_by: Who reverted or replaced the override, or the system if it expired; None while it is in
            effect.
    """

    override: Override
    ended_at: datetime | None = None
    ended_by: str | None = None


class OverrideStore(Protocol):
    """Stores overrides, and writes an audit entry for each change."""

    async def add_override(self, new_override: Override) -> None:
        """Store a new override. It ends the active override of the same feature or endpoint."""
        ...

    async def end_override(self, override_id: str, actor: str, now: datetime) -> Override | None:
        """End an override, and return it.

        Args:
            override_id: The id of the override.
            actor: The person who ends the override.
            now: The current time.

        Returns:
            The override; None if no override with this id is in effect at ``now``.
        """
        ...

    async def list_active(self, now: datetime) -> Sequence[Override]:
        """List the overrides that are in effect at ``now``, the oldest first.

        Expired overrides are marked as ended.
        """
        ...

    async def list_recent(self, limit: int) -> Sequence[OverrideRecord]:
        """List the latest ``limit`` overrides, ended ones included, the newest first."""
        ...


class OverrideRequest(NamedTuple):
    """A request to store an override.

    Attributes:
        subject: The feature to change, or the endpoint to disable.
        links: The endpoints and groups that are to serve the feature; empty to disable an endpoint.
        author: The person who decided on the override.
        reason: The person's reason.
        until: When the override expires, timezone-aware.
    """

    subject: str
    links: tuple[str, ...]
    author: str
    reason: str
    until: datetime


class OverrideOutcome(NamedTuple):
    """A stored override and its effect.

    Attributes:
        override: The override.
        unserved: The features that no endpoint can serve any more because of the override.
    """

    override: Override
    unserved: tuple[str, ...]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class OverrideManager:
    """Stores overrides, and applies them to the feature table of this process.

    Args:
        store: Stores the overrides for all processes.
        table: The feature table to which the overrides are applied.
        clock: The wall clock, timezone-aware.
    """

    def __init__(
        self, store: OverrideStore, table: Table, *, clock: Callable[[], datetime] = _utc_now
    ) -> None:
        self._store = store
        self._table = table
        self._clock = clock
        self._known: Sequence[Override] = ()
        self._looking = asyncio.Lock()
        table.set_override_source(lambda: self._known)

    async def apply_to_table(self) -> None:
        """Read the overrides in effect from the store, and apply them to the feature table of this process.

        Also reloads the table's file if the file has changed, even if the overrides cannot be read.
        """
        async with self._looking:  # else who looked before a decision could have the last word after it
            try:
                self._known = await self._store.list_active(self._clock())
            finally:
                await asyncio.to_thread(self._table.reload_if_changed)

    def describe_active_overrides(self) -> Sequence[OverrideInfo]:
        """Describe the overrides in effect, each with the reason if this process does not apply it."""
        return make_override_infos(self._table)

    async def store_override(self, request: OverrideRequest) -> OverrideOutcome:
        """Validate and store an override. Call `apply_to_table` to apply it in this process.

        Raises:
            InvalidOverrideError: The override does not fit the feature table, or would have no effect.
        """
        now = self._clock()
        one = Override(secrets.token_hex(_ID_BYTES), *request[:4], since=now, until=request.until)
        snapshot = _fitting(one, self._table, now)
        await self._store.add_override(one)
        return OverrideOutcome(one, tuple(_newly_unserved(self._table.snapshot, snapshot, now)))

    async def revert_override(self, override_id: str, actor: str) -> Override:
        """End an override before it expires, and return it.

        Args:
            override_id: The id of the override.
            actor: The person who ends it.

        Raises:
            OverrideNotFoundError: No override with this id is in effect.
        """
        ended = await self._store.end_override(override_id, actor, self._clock())
        if ended is None:
            raise OverrideNotFoundError(override_id)
        return ended

    async def list_recent_overrides(self, limit: int) -> Sequence[OverrideRecord]:
        """List the latest ``limit`` overrides, ended ones included, the newest first."""
        return await self._store.list_recent(limit)


def _fitting(one: Override, table: Table, now: datetime) -> TableSnapshot:
    """The table with ``one`` applied.

    Raises:
        InvalidOverrideError: The override does not fit the table, or would leave a feature without an endpoint.
    """
    problems = list(_formal_problems(one, now))
    try:
        snapshot = table.preview_override(one)
    except ConfigError as error:
        raise InvalidOverrideError([*problems, *error.problems]) from error
    if problems := [*problems, *_idle(one, snapshot, now)]:
        raise InvalidOverrideError(problems)
    return snapshot


def _formal_problems(one: Override, now: datetime) -> Iterator[str]:
    if not one.reason.strip() or len(one.reason) > LONGEST_REASON or not one.reason.isprintable():
        yield f"reason: must be 1 to {LONGEST_REASON} characters on one line."
    if contains_likely_api_key(one.reason):
        yield "reason: holds what looks like a key, and would be shown to everybody."
    if not now < one.until <= now + LONGEST:
        yield f"until: must be in the future, {LONGEST.days} days at most. What is to last belongs in the table."


def _idle(one: Override, snapshot: TableSnapshot, now: datetime) -> Iterator[str]:
    """Why the override would change nothing, or leave a feature without an endpoint."""
    if not one.links:
        return
    holds = snapshot.features[one.subject].override
    if holds is None or holds.id != one.id:
        yield f"{one.problem_path}: the environment says what serves {one.subject}, and stands above it."
    elif snapshot.house_keys and not (route := _route(snapshot, one.subject, now)).candidates:
        reasons = "; ".join(dict.fromkeys(f"{skip.display_name}: {skip.reason}" for skip in route.skipped))
        yield f"{one.problem_path}: nothing of it can serve: {reasons}."


def _newly_unserved(before: TableSnapshot, after: TableSnapshot, now: datetime) -> Iterator[str]:
    for feature in sorted(after.features):
        if _route(before, feature, now).candidates and not _route(after, feature, now).candidates:
            yield feature


def _route(snapshot: TableSnapshot, feature: str, now: datetime) -> Route:
    """How a call by the house would be served if every endpoint were healthy."""
    return plan_route(snapshot, feature, HOUSE, Needs(), today=now.date())
