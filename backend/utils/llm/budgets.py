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

from .foreign import sanitize_text
from .problems import make_rule_error
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
        raise make_rule_error(
            "must be above 0, and 1 at most", f"Did you mean {share / _WHOLE:g}?" if is_percent else ""
        )
    return share


Part = Annotated[float, AfterValidator(_not_percent)]


class BudgetRow(BaseModel):
    """A budget, as written in the table.

    Attributes:
        per: What has a counter of its own: each feature, tenant or user; or, for ``owner``, all keys of the
            operator together, and all keys of users together.
        usd: The cap in US dollars; either ``usd`` or ``tokens`` is set.
        tokens: The cap in tokens, prompt and answer together.
        period: When the counters are reset: every day or month, in UTC, or never (``total``).
        warn_at: The used share of the cap, 0 to 1, from which the log and the receipts have a warning.
        step_down_at: The used share of the cap, 0 to 1, from which the next cheaper profile serves the
            calls. None never changes the profile.
        when_away: What happens while the store of counters is unreachable: ``closed`` refuses calls,
            ``open`` sends them uncounted.
        keys: Which requests count, by the owner of their API key: the operator (``house``), a user, or any.
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
            raise make_rule_error("says neither how many dollars nor how many tokens", "Write usd or tokens.")
        if self.usd is not None and self.tokens is not None:
            raise make_rule_error("counts dollars and tokens at once", "Make it two budgets.")
        return self


@dataclass(frozen=True)
class Budget:
    """A budget in force. Attributes that are not listed here are those of its `BudgetRow`.

    Attributes:
        per: As in `BudgetRow`; or ``token`` for a budget that a caller brings, such as that of an access
            token. A budget per ``token`` has a single counter.
        unit: Whether the budget is in dollars or in tokens.
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
    def from_row(cls, name: str, row: BudgetRow, layer: str) -> Budget:
        """Make the budget ``name`` from its ``row`` in the table; ``layer`` is the configuration layer of the row."""
        unit: Unit = "usd" if row.usd is not None else "tokens"
        cap = to_pico_usd(row.usd) if row.usd is not None else row.tokens or 0
        shared = row.model_dump(exclude={"usd", "tokens"})
        return cls(name=name, unit=unit, cap=cap, layer=layer, **shared)

    def covers_feature(self, feature: str) -> bool:
        """Whether the budget counts requests of ``feature``. `covers_key_and_tier` checks its other conditions."""
        return not self.features or feature in self.features

    def covers_key_and_tier(self, key_owner: KeyOwner, tier: str | None) -> bool:
        """Whether the budget counts requests with a key of ``key_owner`` by callers on the plan ``tier``."""
        return self.keys in {key_owner, "any"} and (not self.tiers or tier in self.tiers)

    def spending_ceiling(self, *, is_stepped_down: bool) -> int:
        """The amount up to which a call may fill a counter of the budget, in pico-dollars or tokens.

        The cap, if ``is_stepped_down`` (the call uses a cheaper profile already) or without ``step_down_at``;
        otherwise the share ``step_down_at`` of the cap.
        """
        is_limited = self.step_down_at is not None and not is_stepped_down
        return int(self.cap * Decimal(str(self.step_down_at))) if is_limited else self.cap

    def window_for(self, subject: str, now: datetime) -> BudgetWindow:
        """Identify the counter for ``subject``, such as a user or a feature, in the period that contains ``now``."""
        return BudgetWindow(self.name, self.per, subject, format_period(self.period, now))

    def format_amount(self, amount: int) -> str:
        """Format ``amount``, in pico-dollars or tokens, for people: ``$0.25`` or ``1,200 tokens``."""
        if self.unit == "tokens":
            return f"{amount:,} tokens"
        return f"${(Decimal(amount) / PICO).normalize():,f}"

    def to_json_amount(self, amount: int) -> str | int:
        """Convert ``amount``, in pico-dollars or tokens, for JSON: dollars as a decimal string, tokens as a number."""
        return amount if self.unit == "tokens" else f"{(Decimal(amount) / PICO).normalize():f}"

    @property
    def lock_order_key(self) -> tuple[int, str]:
        """The key by which budgets are sorted, so that all requests lock their counters in the same order."""
        return PERS.index(self.per), self.name


class BudgetWindow(NamedTuple):
    """The identity of one counter: its budget, the subject whose spending it counts, and its day or month.

    Attributes:
        budget: The budget's name.
        subject: The user, tenant, feature or key owner whose spending is counted. A user of a tenant is
            written as `qualify_user_id` does.
        begins: The day or month, such as ``2026-11-29`` or ``2026-11``; empty if the counter is never reset.
    """

    budget: str
    per: Per
    subject: str
    begins: str

    @property
    def lock_order_key(self) -> tuple[int, str, str, str]:
        """The key by which counters are sorted. All requests lock them in this order, so that none can deadlock."""
        return PERS.index(self.per), self.budget, self.subject, self.begins


class BudgetCharge(NamedTuple):
    """The amount that a request reserves in one counter before it is sent.

    Attributes:
        amount: The most that the request could use, in pico-dollars or tokens.
        ceiling: The total up to which the request may fill the counter, before `BudgetCounter.raised`.
    """

    window: BudgetWindow
    amount: int
    ceiling: int


class BudgetCounter(NamedTuple):
    """The amounts in one counter of a budget, in pico-dollars or tokens.

    Attributes:
        spent: The amount that finished requests have used.
        reserved: The amount that requests in flight have reserved.
        raised: The amount by which the cap was raised, in the period of this counter only.
    """

    spent: int = 0
    reserved: int = 0
    raised: int = 0

    def can_reserve(self, charge: BudgetCharge) -> bool:
        """Whether ``charge`` fits: the amounts spent, reserved and charged stay within the ceiling together."""
        return self.spent + self.reserved + charge.amount <= charge.ceiling + self.raised

    def could_reserve_when_idle(self, charge: BudgetCharge) -> bool:
        """Whether ``charge`` would fit if the requests in flight used nothing, so that a retry may succeed later."""
        return self.spent + charge.amount <= charge.ceiling + self.raised

    def remaining(self, cap: int) -> int:
        """The amount of ``cap`` plus ``raised`` that is neither spent nor reserved; never below 0."""
        return max(0, cap + self.raised - self.spent - self.reserved)

    def used_share(self, cap: int) -> float:
        """The share of ``cap`` plus ``raised`` that is spent or reserved; above 1.0 if more than all is used."""
        return (self.spent + self.reserved) / (cap + self.raised or 1)


class BudgetBalance(NamedTuple):
    """A budget, one of its counters, and when the counter is reset, in UTC (None if never)."""

    budget: Budget
    window: BudgetWindow
    counter: BudgetCounter
    resets_at: datetime | None

    def as_dict(self) -> dict[str, Any]:
        """The balance as a JSON-ready dictionary. Amounts are dollars as decimal strings, or numbers of tokens."""
        budget, window, counter, resets_at = self
        return {
            "budget": budget.name,
            "per": budget.per,
            "subject": window.subject,
            "period": budget.period,
            "begins": window.begins or None,
            "resets_at": None if resets_at is None else resets_at.isoformat(),
            "unit": budget.unit,
            "cap": budget.to_json_amount(budget.cap + counter.raised),
            "spent": budget.to_json_amount(counter.spent),
            "reserved": budget.to_json_amount(counter.reserved),
            "left": budget.to_json_amount(counter.remaining(budget.cap)),
            "used": round(counter.used_share(budget.cap), 4),
            "warning": counter.used_share(budget.cap) >= budget.warn_at,
            "layer": f"{budget.layer}, budgets.{budget.name}",
        }

    @override
    def __str__(self) -> str:
        budget, window, counter, resets_at = self
        anew = "" if resets_at is None else f", anew at {resets_at:%Y-%m-%d %H:%M} UTC"
        left, whole = (
            budget.format_amount(counter.remaining(budget.cap)),
            budget.format_amount(budget.cap + counter.raised),
        )
        whose = f"{budget.per} {sanitize_text(window.subject)}"
        return f"budget {budget.name} of the {whose}: {left} left of {whole}{anew}"


NOTHING: Final = BudgetCounter()


def to_pico_usd(usd: Decimal) -> int:
    """Convert US dollars to a whole number of pico-dollars (10⁻¹²), rounded up."""
    return int((usd * PICO).to_integral_value(ROUND_CEILING))


def format_period(period: BudgetPeriod, now: datetime) -> str:
    """Format the day or month of ``now`` in UTC: ``2026-11-29`` or ``2026-11``; an empty string for ``total``."""
    return (
        "" if period == "total" else now.astimezone(UTC).strftime("%Y-%m-%d" if period == "day" else "%Y-%m")
    )


def next_reset_at(period: BudgetPeriod, now: datetime) -> datetime | None:
    """Compute when the next day or month begins, in UTC; None for ``total``, which is never reset."""
    if period == "total":
        return None
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return today + timedelta(days=1)
    return (today.replace(day=1) + timedelta(days=32)).replace(day=1)
