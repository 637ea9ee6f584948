"""What was used: sums over a period by what people ask for, and single requests. `backend.database` has the real store.

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
"""What usage is told by. A model is an endpoint, ``provider:model``; an owner is whose key paid, ``house`` or ``user``."""
DIMENSIONS: Final[tuple[Dimension, ...]] = get_args(Dimension)
PICO: Final = 10**12
"""Of a dollar."""


class UnkeptError(ValueError):
    """There are no sums by these dimensions together: of all of them there would be nearly as many as requests."""

    code = "usage_not_kept"


class Period(NamedTuple):
    """Whole days, from the beginning of the first to the end of the last.

    Attributes:
        since: The first.
        until: The last.
    """

    since: date
    until: date

    @classmethod
    def last(cls, days: int, today: date) -> Period:
        """The last ``days`` days, ``today`` included."""
        return cls(today - timedelta(days=days - 1), today)


class Only(NamedTuple):
    """A filter of usage or requests by these dimensions. None lets every value through."""

    feature: str | None = None
    model: str | None = None
    user: str | None = None
    tenant: str | None = None
    owner: str | None = None
    outcome: str | None = None

    def given(self) -> Iterator[tuple[Dimension, str]]:
        """The dimensions that the filter restricts, with their values."""
        yield from ((name, value) for name, value in self._asdict().items() if value is not None)  # type: ignore[misc]


ANY: Final = Only()


class Total(NamedTuple):
    """Sums of attempts.

    Attributes:
        calls: How many of them were the first of their call.
        attempts: How many.
        failures: How many gave no answer that could be handed on; neither those that were cancelled.
        degraded: How many answers another endpoint than the first choice gave.
        input: Tokens of the prompts, with those of ``cached`` and ``cache_write``.
        output: Tokens of the answers, with those of ``reasoning``.
        cached: Tokens that were read from a provider's cache.
        cache_write: Tokens that were written to one.
        reasoning: Tokens of thought.
        cost: Pico-dollars of all whose cost is known.
        unpriced: How many of the attempts have no known cost.
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
    def of(cls, parts: Iterable[Total]) -> Total:
        """The sums of ``parts`` together."""
        columns = list(zip(*parts, strict=True))
        return cls(*map(sum, columns)) if columns else cls()

    @property
    def cost_usd(self) -> str:
        """The cost in dollars, exactly."""
        return dollars(self.cost)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; the cost as a decimal number in a string."""
        told = self._asdict()
        del told["cost"]
        return {**told, "cost_usd": self.cost_usd}


class Used(NamedTuple):
    """The sums of one feature, model or day.

    Attributes:
        key: Its name; a day as ``2026-11-29``, an hour as ``2026-11-29T13:00Z``. None if there is none: no user, no tenant.
        total: The sums.
    """

    key: str | None
    total: Total

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"key": self.key, **self.total.as_dict()}


class Cell(NamedTuple):
    """The sums of what has all of ``keys``: a feature on a day, say. Each is as in `Used`."""

    keys: tuple[str | None, ...]
    total: Total


class Request(NamedTuple):
    """One call with its attempts, in the order in which they began."""

    call: str
    attempts: tuple[AttemptRecord, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; moments as text, costs as decimal numbers in strings."""
        return {"call": self.call, "attempts": [_shown(record) for record in self.attempts]}


class Found(NamedTuple):
    """The calls that a search found.

    Attributes:
        further: The call before which it goes on: the last one that was found, or was looked at. None if all were looked at.
    """

    requests: Sequence[Request]
    further: str | None


class Worker(NamedTuple):
    """A process that made calls lately.

    Attributes:
        writer: Its id in the ledger.
        at: When its last attempt began, in microseconds since 1970 (UTC).
        table_hash: The table that decided that.
        attempts: How many of the last attempts of all are its.
    """

    writer: str
    at: int
    table_hash: str
    attempts: int


class Pruned(NamedTuple):
    """How many rows of attempts went, how many of sums, and how many runs of agents."""

    rows: int
    sums: int
    runs: int = 0


class UsageStore(Protocol):
    """Tells what was used."""

    async def used(
        self, by: Dimension, period: Period, only: Only = ANY, *, limit: int | None = None
    ) -> Sequence[Used]:
        """The sums of ``only`` by ``by`` over ``period``: the dearest first, days and hours in their order.

        Raises:
            UnkeptError: There are no such sums.
            StoreAwayError: The store is away.
        """

    async def crossed(self, by: Sequence[Dimension], period: Period, only: Only = ANY) -> Sequence[Cell]:
        """The sums of ``only`` by several dimensions at once, in the order of their keys.

        Raises:
            UnkeptError: There are no such sums.
            StoreAwayError: The store is away.
        """

    async def total(self, period: Period, only: Only = ANY) -> Total:
        """The sums of ``only`` over ``period``.

        Raises:
            UnkeptError: There are no such sums.
            StoreAwayError: The store is away.
        """

    async def requests(
        self, only: Only = ANY, *, limit: int = 50, before: str | None = None
    ) -> Sequence[Request]:
        """The last calls of which an attempt is ``only``'s, the newest first; those before the call ``before``.

        Raises:
            StoreAwayError: The store is away.
        """

    async def search(self, only: Only = ANY, *, limit: int = 50, before: str | None = None) -> Found:
        """Like `requests`, but it gives up after a while, however few it has found.

        Raises:
            StoreAwayError: The store is away.
        """

    async def workers(self) -> Sequence[Worker]:
        """The processes that made the last attempts, the latest first.

        Raises:
            StoreAwayError: The store is away.
        """

    async def request(self, call: str) -> Request | None:
        """The call of that id, if there is one.

        Raises:
            StoreAwayError: The store is away.
        """


def report(by: Dimension, period: Period, used: Sequence[Used], total: Total) -> dict[str, Any]:
    """An answer about usage, JSON-ready."""
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
    """``pico`` as a decimal number of dollars, without zeros that say nothing."""
    whole, rest = divmod(abs(pico), PICO)
    fraction = f"{rest:012d}".rstrip("0")
    return f"{'-' if pico < 0 else ''}{whole}{f'.{fraction}' if fraction else ''}"
