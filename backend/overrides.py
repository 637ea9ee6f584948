"""Stored overrides: temporary changes of the table, which are validated, stored and applied in every process."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from typing_extensions import override

from backend.utils.llm.caller import HOUSE
from backend.utils.llm.diagnostics.qos import override_infos
from backend.utils.llm.errors import ConfigError, LLMError
from backend.utils.llm.model_config import Override
from backend.utils.llm.routing.plan import plan
from backend.utils.llm.routing.route import Needs
from backend.utils.llm.secrets import looks_like_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from backend.utils.llm import Table
    from backend.utils.llm.diagnostics.qos import OverrideInfo
    from backend.utils.llm.model_config import Snapshot
    from backend.utils.llm.routing.route import Route

LONGEST: Final = timedelta(days=90)
"""The longest time that an override may hold: a longer change belongs in the table."""
LONGEST_REASON: Final = 300
"""The most characters of a reason."""
_ID_BYTES: Final = 4


class InvalidOverrideError(LLMError):
    """The override does not fit the table; lists every problem."""

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
    """There is no override with this id that is still in effect."""

    code = "override_not_found"
    http_status = 404

    def __init__(self, one: str) -> None:
        super().__init__(f"No override with the id {one!r} holds. `override list` shows those that do.")


class KeptOverride(NamedTuple):
    """An override as stored, also after its end.

    Attributes:
        ended_at: When the override was reverted or expired; None while it holds.
        ended_by: Who reverted the override.
    """

    override: Override
    ended_at: datetime | None = None
    ended_by: str | None = None


class OverrideStore(Protocol):
    """Stores overrides, with an audit entry for each change."""

    async def add(self, one: Override) -> None:
        """Store ``one``, and end the override of the same subject that holds, if any."""
        ...

    async def end(self, one: str, by: str, now: datetime) -> Override | None:
        """End the override with the id ``one``, and return it; None if there is none with that id in effect at ``now``."""
        ...

    async def holding(self, now: datetime) -> Sequence[Override]:
        """The overrides that have neither ended nor expired at ``now``, the oldest first. Expired ones are ended."""
        ...

    async def all(self, limit: int) -> Sequence[KeptOverride]:
        """The last ``limit`` overrides, the newest first."""
        ...


class OverrideRequest(NamedTuple):
    """A request for an override.

    Attributes:
        subject: A feature, or the endpoint to disable.
        links: The endpoints and groups to serve the feature; empty to disable an endpoint.
        author: The person who decided.
        reason: The person's reason.
        until: When the override expires, timezone-aware.
    """

    subject: str
    links: tuple[str, ...]
    author: str
    reason: str
    until: datetime


class OverrideOutcome(NamedTuple):
    """A stored override, with its effect.

    Attributes:
        unserved: The features that no endpoint serves because of the override.
    """

    override: Override
    unserved: tuple[str, ...]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Overrides:
    """Stores temporary changes of the table, and keeps an application's table in agreement with them.

    Args:
        store: The store of the overrides.
        table: The table to which they are applied.
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
        table.lay_over(lambda: self._known)

    async def put_in_force(self) -> None:
        """Read the overrides that hold now from the store, and apply them to the table of this process.

        A changed table file is read again, too, even if the overrides cannot be read.
        """
        async with self._looking:  # else who looked before a decision could have the last word after it
            try:
                self._known = await self._store.holding(self._clock())
            finally:
                await asyncio.to_thread(self._table.reload_if_changed)

    def infos(self) -> Sequence[OverrideInfo]:
        """The overrides that hold now. Each entry says whether it is in force in this process, and if not, why."""
        return override_infos(self._table)

    async def decide(self, wanted: OverrideRequest) -> OverrideOutcome:
        """Validate and store an override. It takes effect with the next `put_in_force`.

        Raises:
            InvalidOverrideError: The override does not fit the table, or would have no effect.
        """
        now = self._clock()
        one = Override(secrets.token_hex(_ID_BYTES), *wanted[:4], since=now, until=wanted.until)
        snapshot = _fitting(one, self._table, now)
        await self._store.add(one)
        return OverrideOutcome(one, tuple(_newly_unserved(self._table.snapshot, snapshot, now)))

    async def revert(self, one: str, by: str) -> Override:
        """End the override with the id ``one`` before it expires.

        Raises:
            OverrideNotFoundError: No override of that id holds.
        """
        ended = await self._store.end(one, by, self._clock())
        if ended is None:
            raise OverrideNotFoundError(one)
        return ended

    async def all(self, limit: int) -> Sequence[KeptOverride]:
        """The last ``limit`` overrides, the newest first."""
        return await self._store.all(limit)


def _fitting(one: Override, table: Table, now: datetime) -> Snapshot:
    """The table with ``one`` applied.

    Raises:
        InvalidOverrideError: The override does not fit the table, or would leave a feature without an endpoint.
    """
    problems = list(_formal_problems(one, now))
    try:
        snapshot = table.with_override(one)
    except ConfigError as error:
        raise InvalidOverrideError([*problems, *error.problems]) from error
    if problems := [*problems, *_idle(one, snapshot, now)]:
        raise InvalidOverrideError(problems)
    return snapshot


def _formal_problems(one: Override, now: datetime) -> Iterator[str]:
    if not one.reason.strip() or len(one.reason) > LONGEST_REASON or not one.reason.isprintable():
        yield f"reason: must be 1 to {LONGEST_REASON} characters on one line."
    if looks_like_key(one.reason):
        yield "reason: holds what looks like a key, and would be shown to everybody."
    if not now < one.until <= now + LONGEST:
        yield f"until: must be in the future, {LONGEST.days} days at most. What is to last belongs in the table."


def _idle(one: Override, snapshot: Snapshot, now: datetime) -> Iterator[str]:
    """Why the override would change nothing, or leave a feature without an endpoint."""
    if not one.links:
        return
    holds = snapshot.features[one.subject].override
    if holds is None or holds.id != one.id:
        yield f"{one.path}: the environment says what serves {one.subject}, and stands above it."
    elif snapshot.house_keys and not (route := _route(snapshot, one.subject, now)).candidates:
        reasons = "; ".join(dict.fromkeys(f"{skip.name}: {skip.reason}" for skip in route.skipped))
        yield f"{one.path}: nothing of it can serve: {reasons}."


def _newly_unserved(before: Snapshot, after: Snapshot, now: datetime) -> Iterator[str]:
    for feature in sorted(after.features):
        if _route(before, feature, now).candidates and not _route(after, feature, now).candidates:
            yield feature


def _route(snapshot: Snapshot, feature: str, now: datetime) -> Route:
    """How a call by the house would be served if every endpoint were healthy."""
    return plan(snapshot, feature, HOUSE, Needs(), today=now.date())
