"""Usage and cost of calls: sums over a period by dimension, single calls, and the Protocol of their store.

Money is in whole pico-dollars (10⁻¹² US dollars). Days and hours are those of UTC.
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


class MissingRollupError(ValueError):
    """No stored table of sums (roll-up) has the requested combination of dimensions.

    Single rows are not summed instead.
    """

    code = "usage_not_kept"


class UsagePeriod(NamedTuple):
    """A period of whole days (UTC), including the first and the last day.

    Attributes:
        since: The first day.
        until: The last day.
    """

    since: date
    until: date

    @classmethod
    def last_days(cls, days: int, today: date) -> UsagePeriod:
        """Return the period of the last ``days`` days, including ``today``."""
        return cls(today - timedelta(days=days - 1), today)


class UsageFilter(NamedTuple):
    """Selects the attempts that have these values in these dimensions. None matches every value."""

    feature: str | None = None
    model: str | None = None
    user: str | None = None
    tenant: str | None = None
    owner: str | None = None
    outcome: str | None = None

    def restrictions(self) -> Iterator[tuple[Dimension, str]]:
        """Yield each dimension whose value is not None, and the value."""
        yield from ((name, value) for name, value in self._asdict().items() if value is not None)  # type: ignore[misc]


ANY: Final = UsageFilter()


class UsageSums(NamedTuple):
    """Sums over attempts.

    Attributes:
        calls: The number of calls; a call counts if its first attempt is among the attempts.
        attempts: The number of attempts.
        failures: The number of attempts that failed or whose answer was rejected, but not of cancelled ones.
        degraded: The number of answers from an endpoint other than the first choice.
        input: Tokens of the prompts, including ``cached`` and ``cache_write``.
        output: Tokens of the answers, including ``reasoning``.
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
    def from_parts(cls, parts: Iterable[UsageSums]) -> UsageSums:
        """Add up ``parts``, field by field."""
        columns = list(zip(*parts, strict=True))
        return cls(*map(sum, columns)) if columns else cls()

    @property
    def cost_usd(self) -> str:
        """The exact cost in dollars, as a decimal number in a string."""
        return format_dollars(self.cost)

    def as_dict(self) -> dict[str, Any]:
        """Convert the sums to a dict that is ready for JSON. It has the cost as ``cost_usd``."""
        fields = self._asdict()
        del fields["cost"]
        return {**fields, "cost_usd": self.cost_usd}


class GroupSums(NamedTuple):
    """The sums for one value of a dimension, such as one feature or one day.

    Attributes:
        key: The value: a name, a day such as ``2026-11-29``, or an hour such as ``2026-11-29T13:00Z``. None
            for attempts without a user or tenant.
        total: The sums.
    """

    key: str | None
    total: UsageSums

    def as_dict(self) -> dict[str, Any]:
        """Convert the sums to a dict that is ready for JSON."""
        return {"key": self.key, **self.total.as_dict()}


class CombinationSums(NamedTuple):
    """The sums for one combination of values, such as one feature on one day.

    Attributes:
        keys: One value for each requested dimension, in the same order, written as in `GroupSums`.
        total: The sums.
    """

    keys: tuple[str | None, ...]
    total: UsageSums


class LedgerRequest(NamedTuple):
    """One call as recorded in the ledger, with its attempts in the order in which they began."""

    call: str
    attempts: tuple[AttemptRecord, ...]

    def as_dict(self) -> dict[str, Any]:
        """Convert the call to a dict that is ready for JSON. Times are text; costs are decimal numbers in strings."""
        return {"call": self.call, "attempts": [_shown(record) for record in self.attempts]}


class FoundRequests(NamedTuple):
    """The calls that a search found.

    Attributes:
        requests: The calls, the newest first.
        further: The id of a call, to pass as ``before`` to the next search; None if all calls were searched.
    """

    requests: Sequence[LedgerRequest]
    further: str | None


class RecentWorker(NamedTuple):
    """A process that made some of the most recent attempts.

    Attributes:
        writer: The id of the process in the ledger.
        at: When the process's last attempt began, in microseconds since 1970 (UTC).
        table_hash: The hash of the table that was used for this attempt.
        attempts: How many of the most recent attempts the process made.
    """

    writer: str
    at: int
    table_hash: str
    attempts: int


class PrunedCounts(NamedTuple):
    """How many old attempts, usage sums and agent runs were deleted."""

    rows: int
    sums: int
    runs: int = 0


class UsageStore(Protocol):
    """Reads usage and calls from the ledger."""

    async def sum_by_dimension(
        self,
        dimension: Dimension,
        period: UsagePeriod,
        usage_filter: UsageFilter = ANY,
        *,
        limit: int | None = None,
    ) -> Sequence[GroupSums]:
        """Sum the attempts in ``period`` for each value of ``dimension``.

        ``usage_filter`` selects the attempts. ``limit`` is the most values to return; None returns all.

        Returns:
            The most expensive values first; days and hours in order of time.

        Raises:
            MissingRollupError: No roll-up has these sums.
            StoreUnreachableError: The store cannot be reached.
        """

    async def sum_by_combination(
        self, dimensions: Sequence[Dimension], period: UsagePeriod, usage_filter: UsageFilter = ANY
    ) -> Sequence[CombinationSums]:
        """Sum the attempts in ``period`` for each combination of values of ``dimensions``.

        ``usage_filter`` selects the attempts.

        Returns:
            The sums, sorted by their keys.

        Raises:
            MissingRollupError: No roll-up has these sums.
            StoreUnreachableError: The store cannot be reached.
        """

    async def sum_total(self, period: UsagePeriod, usage_filter: UsageFilter = ANY) -> UsageSums:
        """Sum all attempts in ``period`` that match ``usage_filter``.

        Raises:
            MissingRollupError: No roll-up has these sums.
            StoreUnreachableError: The store cannot be reached.
        """

    async def list_requests(
        self, usage_filter: UsageFilter = ANY, *, limit: int = 50, before: str | None = None
    ) -> Sequence[LedgerRequest]:
        """List the newest calls with an attempt that matches ``usage_filter``, the newest first.

        At most ``limit`` calls are returned. ``before`` is the id of a call, and only earlier calls are listed;
        None begins with the newest.

        Raises:
            StoreUnreachableError: The store cannot be reached.
        """

    async def search_requests(
        self, usage_filter: UsageFilter = ANY, *, limit: int = 50, before: str | None = None
    ) -> FoundRequests:
        """List calls like `list_requests`, but search only a limited number of attempts.

        The result says where to continue the search.

        Raises:
            StoreUnreachableError: The store cannot be reached.
        """

    async def list_recent_workers(self) -> Sequence[RecentWorker]:
        """List the processes that made the most recent attempts, the most recently active one first.

        Raises:
            StoreUnreachableError: The store cannot be reached.
        """

    async def find_request(self, call_id: str) -> LedgerRequest | None:
        """Return the call ``call_id`` with all of its attempts; None if it does not exist.

        Raises:
            StoreUnreachableError: The store cannot be reached.
        """


def build_usage_report(
    by: Dimension, period: UsagePeriod, groups: Sequence[GroupSums], total: UsageSums
) -> dict[str, Any]:
    """Build the usage report, ready for JSON, from the sums for each value of ``by`` and their ``total``."""
    return {
        "by": by,
        "since": period.since.isoformat(),
        "until": period.until.isoformat(),
        "usage": [each.as_dict() for each in groups],
        "total": total.as_dict(),
    }


def _shown(record: AttemptRecord) -> dict[str, Any]:
    fields = record._asdict()
    cost = fields.pop("cost")
    at = datetime.fromtimestamp(record.at / 1e6, UTC)
    return {**fields, "at": at.isoformat(), "cost_usd": None if cost is None else format_dollars(cost)}


def format_dollars(pico: int) -> str:
    """Format an amount of pico-dollars as a decimal number of dollars, without trailing zeros."""
    whole, rest = divmod(abs(pico), PICO)
    fraction = f"{rest:012d}".rstrip("0")
    return f"{'-' if pico < 0 else ''}{whole}{f'.{fraction}' if fraction else ''}"
