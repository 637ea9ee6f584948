"""Shows and changes the counters of budgets: their balances, an increase of a limit, a reset."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from backend.utils.llm.budgets import NOTHING, BudgetBalance, format_period, next_reset_at, to_pico_usd
from backend.utils.llm.caller import qualify_user_id
from backend.utils.llm.errors import BudgetUnavailableError, LLMError
from backend.utils.llm.problems import did_you_mean
from backend.utils.llm.state.budget_store import BudgetStoreUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from backend.access import DataOwner
    from backend.ledger.audit import Kind
    from backend.utils.llm import Table
    from backend.utils.llm.budgets import Budget, BudgetCounter, BudgetWindow, Unit
    from backend.utils.llm.state.budget_store import BudgetStore

_MOST: Final[dict[Unit, int]] = {"usd": 1_000_000, "tokens": 10**15}
_SHOWN: Final = 40
"""Characters of what somebody wrote."""


class UnknownBudgetError(LLMError):
    """The table has no such budget, or the budget no such counter. The message suggests similar names."""

    code = "unknown_budget"
    http_status = 404


class InvalidAmountError(LLMError):
    """The amount by which to raise a budget's limit is invalid."""

    code = "invalid_amount"
    http_status = 422


class AuditWriter(Protocol):
    """A function that writes an entry into the audit trail."""

    async def __call__(self, kind: Kind, subject: str, *, actor: str, details: Mapping[str, str]) -> None:
        """Add an entry."""


class BudgetCounterName(NamedTuple):
    """The name of a budget's counter, as a person types it.

    Attributes:
        budget: The name of the budget.
        subject: Whose spending the counter counts: a user, a tenant, a feature, or the owner of keys
            (``house`` or ``user``).
    """

    budget: str
    subject: str


def _utc_now() -> datetime:
    return datetime.now(UTC)


class BudgetManager:
    """Shows, raises and resets the counters of a table's budgets, for the command line and the HTTP API.

    Args:
        store: Stores the counters.
        table: The feature table that defines the budgets.
        note: Writes an entry into the audit trail for each change.
        clock: The wall clock, timezone-aware.
    """

    def __init__(
        self, store: BudgetStore, table: Table, note: AuditWriter, *, clock: Callable[[], datetime] = _utc_now
    ) -> None:
        self._store = store
        self._table = table
        self._note = note
        self._clock = clock

    async def list_balances(self) -> Sequence[BudgetBalance]:
        """List the balances of all stored counters in their current periods, the nearest to its limit first.

        Raises:
            BudgetUnavailableError: The counters cannot be read.
        """
        with _asked():
            known = await asyncio.to_thread(self._store.known)
        found = (self._balance(window, counter) for window, counter in known.items())
        return sorted(
            filter(None, found), key=lambda balance: -balance.counter.used_share(balance.budget.cap)
        )

    async def list_user_balances(self, owner: DataOwner) -> Sequence[BudgetBalance]:
        """List a user's balances in all budgets that are counted per user, in their current periods.

        Raises:
            BudgetUnavailableError: The counters cannot be read.
        """
        now, budgets = self._clock(), self._table.snapshot.budgets.values()
        user = qualify_user_id(owner.tenant_id, owner.user_id)
        windows = [(budget, budget.window_for(user, now)) for budget in budgets if budget.per == "user"]
        with _asked():
            counters = await asyncio.to_thread(self._store.counters, [window for _, window in windows])
        return [self._shown(budget, window, counters.get(window, NOTHING)) for budget, window in windows]

    async def read_balance(self, counter_name: BudgetCounterName) -> BudgetBalance:
        """Read the balance of one counter in its current period.

        Args:
            counter_name: The budget, and whose spending the counter counts.

        Raises:
            UnknownBudgetError: There is no such counter.
            BudgetUnavailableError: The counter cannot be read.
        """
        budget, window = self._found(counter_name)
        with _asked():
            counters = await asyncio.to_thread(self._store.counters, [window])
        return self._shown(budget, window, counters.get(window, NOTHING))

    async def raise_limit(self, counter_name: BudgetCounterName, amount: str, actor: str) -> BudgetBalance:
        """Raise the limit of a counter. A daily or monthly limit is raised for the current period only.

        Args:
            counter_name: The budget, and whose spending the counter counts.
            amount: The amount to add, in dollars or tokens, as a decimal number. A negative amount lowers the
                limit.
            actor: The person who raises the limit, for the audit trail.

        Raises:
            UnknownBudgetError: There is no such counter.
            InvalidAmountError: ``amount`` is invalid.
            BudgetUnavailableError: The counter cannot be changed.
        """
        budget, window = self._found(counter_name)
        added = _amount(budget, amount)
        with _asked():
            counter = await asyncio.to_thread(self._store.raise_by, window, added)
        details = {
            "subject": counter_name.subject,
            "begins": window.begins,
            "by": str(budget.to_json_amount(added)),
        }
        await self._note("budget.raised", budget.name, actor=actor, details=details)
        return self._shown(budget, window, counter)

    async def reset_spending(self, counter_name: BudgetCounterName, actor: str) -> BudgetBalance:
        """Set the spending of a counter in its current period to zero.

        What is reserved for requests in flight stays reserved.

        Args:
            counter_name: The budget, and whose spending the counter counts.
            actor: The person who resets the counter, for the audit trail.

        Raises:
            UnknownBudgetError: There is no such counter.
            BudgetUnavailableError: The counter cannot be changed.
        """
        before = await self.read_balance(counter_name)
        with _asked():
            counter = await asyncio.to_thread(self._store.reset, before.window)
        spent = str(before.budget.to_json_amount(before.counter.spent))
        details = {"subject": counter_name.subject, "begins": before.window.begins, "spent": spent}
        await self._note("budget.reset", before.budget.name, actor=actor, details=details)
        return self._shown(before.budget, before.window, counter)

    def _found(self, wanted: BudgetCounterName) -> tuple[Budget, BudgetWindow]:
        snapshot = self._table.snapshot
        budget = snapshot.budgets.get(wanted.budget)
        if budget is None:
            hint = did_you_mean(wanted.budget, snapshot.budgets)
            raise UnknownBudgetError(f"There is no budget {wanted.budget[:_SHOWN]!r}. {hint}".strip())
        known = {"feature": snapshot.features.keys(), "owner": {"house", "user"}}.get(budget.per)
        if not wanted.subject or (known is not None and wanted.subject not in known):
            hint = did_you_mean(wanted.subject, known or ())
            raise UnknownBudgetError(f"There is no {budget.per} {wanted.subject[:_SHOWN]!r}. {hint}".strip())
        return budget, budget.window_for(wanted.subject, self._clock())

    def _balance(self, window: BudgetWindow, counter: BudgetCounter) -> BudgetBalance | None:
        """The balance of ``window``; None if its day or month is over, or the table no longer has its budget."""
        budget = self._table.snapshot.budgets.get(window.budget)
        is_now = budget is not None and window.begins == format_period(budget.period, self._clock())
        if budget is None or not is_now or budget.per != window.per:
            return None
        return self._shown(budget, window, counter)

    def _shown(self, budget: Budget, window: BudgetWindow, counter: BudgetCounter) -> BudgetBalance:
        return BudgetBalance(budget, window, counter, next_reset_at(budget.period, self._clock()))


@contextmanager
def _asked() -> Iterator[None]:
    try:
        yield
    except BudgetStoreUnreachableError as error:
        raise BudgetUnavailableError("The counters of budgets cannot be read now.") from error


def _amount(budget: Budget, written: str) -> int:
    try:
        amount = Decimal(written)
    except InvalidOperation:
        amount = Decimal(0)
    is_fitting = amount.is_finite() and 0 < abs(amount) <= _MOST[budget.unit]
    if not is_fitting or (budget.unit == "tokens" and amount != int(amount)):
        unit = "dollars, such as 2.50" if budget.unit == "usd" else "tokens, such as 100000"
        raise InvalidAmountError(f"{written[:_SHOWN]!r} is no amount. Write {unit}.")
    return to_pico_usd(amount) if budget.unit == "usd" else int(amount)
