"""Usage and cost of calls: sums over a period by dimension, and single requests, with the Protocol of their store.

Money is whole pico-dollars (10⁻¹² US dollars). Days, and hours, are those of UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date

    from backend.utils.llm.ledger.record import AttemptRecord

Dimension = Literal["feature", "model", "user", "tenant", "owner", "outcome", "day", "hour"]
"""The dimensions of usage. A model is an endpoint, ``provider:model``; an owner is whose key paid, ``house`` or ``user``."""
DIMENSIONS: Final[tuple[Dimension, ...]] = get_args(Dimension)
PICO: Final = 10**12
"""Pico-dollars in a dollar."""


class UnkeptError(ValueError):
    """No stored table of sums (roll-up) has the asked combination of dimensions, and rows are not summed instead."""

    code = "usage_not_kept"


class Period(NamedTuple):
    """A period of whole days in UTC, both ends included.

    Attributes:
        since: The first day.
        until: The last day.
    """

    since: date
    until: date

    @classmethod
    def last(cls, days: int, today: date) -> Period:
        """The period of the last ``days`` days, ``today`` included."""
        return cls(today - timedelta(days=days - 1), today)


class UsageFilter(NamedTuple):
    """Restricts usage or requests to one value of some dimensions. A None matches every value."""

    feature: str | None = None
    model: str | None = None
    user: str | None = None
    tenant: str | None = None
    owner: str | None = None
    outcome: str | None = None

    def given(self) -> Iterator[tuple[Dimension, str]]:
        """Yield the restricted dimensions, each with its value."""
        yield from ((name, value) for name, value in self._asdict().items() if value is not None)  # type: ignore[misc]


ANY: Final = UsageFilter()


class UsageSums(NamedTuple):
    """Sums of attempts.

    Attributes:
        calls: The number of calls, counted by their first attempts.
        attempts: The number of attempts.
        failures: The number of attempts that failed, or whose answer was rejected; cancelled ones do not count.
        degraded: The number of answers from an endpoint other than the first choice.
        input: Tokens of the prompts, with those of ``cached`` and ``cache_write``.
        output: Tokens of the answers, with those of ``reasoning``.
        cached: Tokens read from a provider's cache.
        cache_write: Tokens written to a provider's cache.
        reasoning: Reasoning tokens.
        cost: The cost of all attempts of known cost, in pico-dollars.
        unpriced: The number of attempts of unknown cost.
    """

    calls: int = 0
    attempts: int = 0
    failures: int = 0
    degraded: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0
    cost: int = 0
    unpriced: int = 0

    @classmethod
    def of(cls, parts: Iterable[UsageSums]) -> UsageSums:
        """The sums of ``parts`` together."""
        columns = list(zip(*parts, strict=True))
        return cls(*map(sum, columns)) if columns else cls()

    @property
    def cost_usd(self) -> str:
        """The cost in dollars, exactly."""
        return dollars(self.cost)

    def as_dict(self) -> dict[str, Any]:
        """Convert the sums to a dict that is ready for JSON; the cost is a decimal number in a string."""
        told = self._asdict()
        del told["cost"]
        return {**told, "cost_usd": self.cost_usd}


class GroupSums(NamedTuple):
    """The sums of one value of a dimension, such as one feature or one day.

    Attributes:
        key: The value: a name, a day as ``2026-11-29``, an hour as ``2026-11-29T13:00Z``. None for no user or no tenant.
        total: The sums.
    """

    key: str | None
    total: UsageSums

    def as_dict(self) -> dict[str, Any]:
        """Convert the sums to a dict that is ready for JSON."""
        return {"key": self.key, **self.total.as_dict()}


class CrossSums(NamedTuple):
    """The sums for one combination of values, such as one feature on one day.

    Attributes:
        keys: A value for each of the asked dimensions, in their order; each is as in `GroupSums`.
        total: The sums.
    """

    keys: tuple[str | None, ...]
    total: UsageSums


class Request(NamedTuple):
    """One call with its attempts, in the order in which they began."""

    call: str
    attempts: tuple[AttemptRecord, ...]

    def as_dict(self) -> dict[str, Any]:
        """As a dict that is ready for JSON; times as text, costs as decimal numbers in strings."""
        return {"call": self.call, "attempts": [_shown(record) for record in self.attempts]}


class FoundRequests(NamedTuple):
    """The calls that a search found.

    Attributes:
        further: The id of the call before which the next search continues; None if all calls were searched.
    """

    requests: Sequence[Request]
    further: str | None


class Worker(NamedTuple):
    """A process that made some of the last attempts.

    Attributes:
        writer: The id of the process in the ledger.
        at: When the process's last attempt began, in microseconds since 1970 (UTC).
        table_hash: The hash of the table that routed that attempt.
        attempts: How many of the last attempts the process made.
    """

    writer: str
    at: int
    table_hash: str
    attempts: int


class PrunedCounts(NamedTuple):
    """The numbers of deleted attempts, sums, and runs of agents."""

    rows: int
    sums: int
    runs: int = 0


class UsageStore(Protocol):
    """Reads usage from the ledger."""

    async def used(
        self, by: Dimension, period: Period, only: UsageFilter = ANY, *, limit: int | None = None
    ) -> Sequence[GroupSums]:
        """Sum the attempts in ``period`` for each value of the dimension ``by``.

        Args:
            by: The dimension.
            period: The days.
            only: The attempts to count; by default, all.
            limit: The most values; None for all.

        Returns:
            The most expensive values first; days and hours in order of time.

        Raises:
            UnkeptError: No roll-up has these sums.
            StoreAwayError: The store cannot be reached.
        """

    async def crossed(
        self, by: Sequence[Dimension], period: Period, only: UsageFilter = ANY
    ) -> Sequence[CrossSums]:
        """Sum the attempts in ``period`` for each combination of values of several dimensions.

        Args:
            by: The dimensions.
            period: The days.
            only: The attempts to count; by default, all.

        Returns:
            The sums, in the order of their keys.

        Raises:
            UnkeptError: No roll-up has these sums.
            StoreAwayError: The store cannot be reached.
        """

    async def total(self, period: Period, only: UsageFilter = ANY) -> UsageSums:
        """The sums of the attempts in ``period`` that ``only`` matches.

        Raises:
            UnkeptError: No roll-up has these sums.
            StoreAwayError: The store cannot be reached.
        """

    async def requests(
        self, only: UsageFilter = ANY, *, limit: int = 50, before: str | None = None
    ) -> Sequence[Request]:
        """List the newest calls with an attempt that ``only`` matches, the newest first.

        Args:
            only: The filter; by default, all match.
            limit: The most calls.
            before: The id of a call; only earlier calls are listed. None to begin with the newest.

        Raises:
            StoreAwayError: The store cannot be reached.
        """

    async def search(
        self, only: UsageFilter = ANY, *, limit: int = 50, before: str | None = None
    ) -> FoundRequests:
        """Like `requests`, but stops after a limited number of attempts, and tells where to continue.

        Raises:
            StoreAwayError: The store cannot be reached.
        """

    async def workers(self) -> Sequence[Worker]:
        """The processes that made the last attempts, the most recent first.

        Raises:
            StoreAwayError: The store cannot be reached.
        """

    async def request(self, call: str) -> Request | None:
        """The call with the given id; None if there is none.

        Raises:
            StoreAwayError: The store cannot be reached.
        """


def report(by: Dimension, period: Period, used: Sequence[GroupSums], total: UsageSums) -> dict[str, Any]:
    """Convert usage to a dict that is ready for JSON."""
    return {
        "by": by,
        "since": period.since.isoformat(),
        "until": period.until.isoformat(),
        "usage": [each.as_dict() for each in used],
        "total": total.as_dict(),
    }


def _shown(record: AttemptRecord) -> dict[str, Any]:
    told = record._asdict()
    cost = told.pop("cost")
    at = datetime.fromtimestamp(record.at / 1e6, UTC)
    return {**told, "at": at.isoformat(), "cost_usd": None if cost is None else dollars(cost)}


def dollars(pico: int) -> str:
    """Format ``pico`` pico-dollars as a decimal number of dollars, without trailing zeros."""
    whole, rest = divmod(abs(pico), PICO)
    fraction = f"{rest:012d}".rstrip("0")
    return f"{'-' if pico < 0 else ''}{whole}{f'.{fraction}' if fraction else ''}"
