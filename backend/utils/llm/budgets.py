"""Budgets: caps on spending in dollars or tokens, for each day, for each month or in total.

A budget is a row of the table. It has a counter for every user, tenant, feature or owner of keys, and for every day or
month: the `BudgetWindow`. Money is counted in whole pico-dollars, so that nothing is lost to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import override

from .foreign import label
from .problems import rule_error
from .types import Per

if TYPE_CHECKING:
    from .types import KeyOwner

PERS: Final[tuple[Per, ...]] = get_args(Per)
"""The kinds of counters, in the order in which every request locks them, so that no two can deadlock."""
BudgetPeriod = Literal["day", "month", "total"]
Unit = Literal["usd", "tokens"]
PICO: Final = 10**12
"""Pico-dollars of a dollar."""
_WHOLE: Final = 100


def _not_percent(share: float) -> float:
    if not 0 < share <= 1:
        is_percent = 1 < share <= _WHOLE
        raise rule_error(
            "must be above 0, and 1 at most", f"Did you mean {share / _WHOLE:g}?" if is_percent else ""
        )
    return share


Part = Annotated[float, AfterValidator(_not_percent)]


class BudgetRow(BaseModel):
    """A budget, as written in the table.

    Attributes:
        per: What has a counter of its own: each feature, tenant, user, or owner of keys (``house``, the operator, or
            ``user``).
        usd: The cap in US dollars; either this or ``tokens`` is set.
        tokens: The cap in tokens, prompt and answer together.
        period: When the counter is reset: with each day or month, in UTC, or never (``total``).
        warn_at: The used share of the cap, 0 to 1, from which on the log and the receipts warn.
        step_down_at: The share of the cap, 0 to 1, that calls with their own profile may use; calls beyond that share
            are served by the next cheaper profile. None never changes the profile.
        when_away: ``closed`` refuses calls while the store of counters cannot be reached, ``open`` sends them uncounted.
        keys: Which requests count, by the owner of their key: the operator (``house``), a user, or any.
        features: The features whose requests count; empty for all.
        tiers: The plans (`Caller.tier`) of the callers whose requests count; empty for all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    per: Literal["feature", "tenant", "user", "owner"]
    usd: Decimal | None = Field(None, gt=0, le=1_000_000)
    tokens: int | None = Field(None, gt=0, le=10**15)
    period: BudgetPeriod
    warn_at: Part = 0.8
    step_down_at: Part | None = None
    when_away: Literal["closed", "open"] = "closed"
    keys: Literal["house", "user", "any"] = "house"
    features: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        if self.usd is None and self.tokens is None:
            raise rule_error("says neither how many dollars nor how many tokens", "Write usd or tokens.")
        if self.usd is not None and self.tokens is not None:
            raise rule_error("counts dollars and tokens at once", "Make it two budgets.")
        return self


@dataclass(frozen=True)
class Budget:
    """A budget that is in force. Attributes that are not listed here are those of its `BudgetRow`.

    Attributes:
        per: As in the row; or ``token`` for a budget that a caller brings, which has one counter, under its name.
        unit: The unit of its counters: dollars or tokens.
        cap: The most that may be used, in pico-dollars or in tokens.
        layer: The configuration layer that the budget comes from.
    """

    name: str
    per: Per
    unit: Unit
    cap: int
    period: BudgetPeriod
    warn_at: float = 0.8
    step_down_at: float | None = None
    when_away: Literal["closed", "open"] = "closed"
    keys: Literal["house", "user", "any"] = "house"
    features: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    layer: str = ""

    @classmethod
    def of(cls, name: str, row: BudgetRow, layer: str) -> Budget:
        """The budget that ``row`` describes."""
        unit: Unit = "usd" if row.usd is not None else "tokens"
        cap = pico_usd(row.usd) if row.usd is not None else row.tokens or 0
        shared = row.model_dump(exclude={"usd", "tokens"})
        return cls(name=name, unit=unit, cap=cap, layer=layer, **shared)

    def is_for(self, feature: str) -> bool:
        """Whether requests of ``feature`` can count against the budget; `counts` also looks at key and plan."""
        return not self.features or feature in self.features

    def counts(self, owner: KeyOwner, tier: str | None) -> bool:
        """Whether a request counts, by the ``owner`` of its key and the plan (``tier``) of its caller."""
        return self.keys in {owner, "any"} and (not self.tiers or tier in self.tiers)

    def ceiling(self, *, is_stepped_down: bool) -> int:
        """The sum up to which requests may fill a counter of the budget, in pico-dollars or tokens.

        That is the cap; or only the share ``step_down_at`` of the cap, as long as the call has not been moved to a
        cheaper profile (``is_stepped_down``).
        """
        is_limited = self.step_down_at is not None and not is_stepped_down
        return int(self.cap * Decimal(str(self.step_down_at))) if is_limited else self.cap

    def window(self, subject: str, now: datetime) -> BudgetWindow:
        """The identity of the counter for ``subject`` (a user, tenant, feature …) on the day or month of ``now``."""
        return BudgetWindow(self.name, self.per, subject, period_of(self.period, now))

    def shown(self, amount: int) -> str:
        """``amount`` in the unit of the budget, for people: ``1,200 tokens`` or ``$0.25``."""
        if self.unit == "tokens":
            return f"{amount:,} tokens"
        return f"${(Decimal(amount) / PICO).normalize():,f}"

    def amount(self, amount: int) -> str | int:
        """``amount`` in the unit of the budget, for programs: dollars as a decimal number in a text, or a count of tokens."""
        return amount if self.unit == "tokens" else f"{(Decimal(amount) / PICO).normalize():f}"

    @property
    def order(self) -> tuple[int, str]:
        """The sort key of the budget: the order in which a request is counted against budgets."""
        return PERS.index(self.per), self.name


class BudgetWindow(NamedTuple):
    """The identity of one counter: its budget, the subject whose spending is counted, and its day or month.

    Attributes:
        budget: The budget's name.
        subject: The user, tenant, feature or owner whose spending is counted; a user of a tenant as by `user_of`.
        begins: The day or month, such as ``2026-11-29`` or ``2026-11``; empty if the counter is never reset.
    """

    budget: str
    per: Per
    subject: str
    begins: str

    @property
    def order(self) -> tuple[int, str, str, str]:
        """The sort key of the counter. All requests lock counters in this order, so that they cannot deadlock."""
        return PERS.index(self.per), self.budget, self.subject, self.begins


class Charge(NamedTuple):
    """The amount that a request reserves in one counter.

    Attributes:
        amount: The most that the request could use, in pico-dollars or tokens.
        ceiling: The amount up to which the request may fill the counter; an increase of the cap is added to it.
    """

    window: BudgetWindow
    amount: int
    ceiling: int


class Counter(NamedTuple):
    """The amounts of one counter, in pico-dollars or tokens.

    Attributes:
        spent: The amount that finished requests have used.
        reserved: The amount that requests in flight have reserved.
        raised: The amount by which the cap was raised for this window.
    """

    spent: int = 0
    reserved: int = 0
    raised: int = 0

    def has_room(self, charge: Charge) -> bool:
        """Whether the request of ``charge`` may be sent: with its amount the counter stays within the ceiling."""
        return self.spent + self.reserved + charge.amount <= charge.ceiling + self.raised

    def will_have_room(self, charge: Charge) -> bool:
        """Whether ``charge`` would fit if the requests in flight used nothing, so that a later retry can make sense."""
        return self.spent + charge.amount <= charge.ceiling + self.raised

    def left(self, cap: int) -> int:
        """The amount of ``cap`` that is neither spent nor reserved; never below 0."""
        return max(0, cap + self.raised - self.spent - self.reserved)

    def used(self, cap: int) -> float:
        """The share of ``cap`` that is spent or reserved: 1.0 is all of it, and more is possible."""
        return (self.spent + self.reserved) / (cap + self.raised or 1)


class Balance(NamedTuple):
    """What is left of a budget in one of its counters; ``resets_at`` is in UTC, and None if the counter is never reset."""

    budget: Budget
    window: BudgetWindow
    counter: Counter
    resets_at: datetime | None

    def as_dict(self) -> dict[str, Any]:
        """The balance, JSON-ready. Amounts are dollars as decimal strings, or counts of tokens."""
        budget, window, counter, resets_at = self
        return {
            "budget": budget.name,
            "per": budget.per,
            "subject": window.subject,
            "period": budget.period,
            "begins": window.begins or None,
            "resets_at": None if resets_at is None else resets_at.isoformat(),
            "unit": budget.unit,
            "cap": budget.amount(budget.cap + counter.raised),
            "spent": budget.amount(counter.spent),
            "reserved": budget.amount(counter.reserved),
            "left": budget.amount(counter.left(budget.cap)),
            "used": round(counter.used(budget.cap), 4),
            "warning": counter.used(budget.cap) >= budget.warn_at,
            "layer": f"{budget.layer}, budgets.{budget.name}",
        }

    @override
    def __str__(self) -> str:
        budget, window, counter, resets_at = self
        anew = "" if resets_at is None else f", anew at {resets_at:%Y-%m-%d %H:%M} UTC"
        left, whole = budget.shown(counter.left(budget.cap)), budget.shown(budget.cap + counter.raised)
        whose = f"{budget.per} {label(window.subject)}"
        return f"budget {budget.name} of the {whose}: {left} left of {whole}{anew}"


NOTHING: Final = Counter()


def pico_usd(usd: Decimal) -> int:
    """US dollars as a whole number of pico-dollars (10⁻¹²), rounded up."""
    return int((usd * PICO).to_integral_value(ROUND_CEILING))


def period_of(period: BudgetPeriod, now: datetime) -> str:
    """The day or month in which ``now`` lies, in UTC: ``2026-11-29`` or ``2026-11``; an empty text for ``total``."""
    return (
        "" if period == "total" else now.astimezone(UTC).strftime("%Y-%m-%d" if period == "day" else "%Y-%m")
    )


def resets_at(period: BudgetPeriod, now: datetime) -> datetime | None:
    """The moment at which the next day or month begins, in UTC; None for ``total``, which is never reset."""
    if period == "total":
        return None
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return today + timedelta(days=1)
    return (today.replace(day=1) + timedelta(days=32)).replace(day=1)
