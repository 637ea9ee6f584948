"""Reserves budgets before a request is sent, and settles them when it has ended."""

from __future__ import annotations

import asyncio
import logging
import os
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from typing_extensions import override

from ...budgets import to_pico_usd
from ...foreign import sanitize_text
from ...pricing import compute_cost_on_day
from ...receipt import Attempt, BudgetRemark, TokenUsage
from ...routing.charges import compute_budget_claims, make_budget_rejection, make_unreadable_budget_rejection
from ...routing.route import CandidateRejection
from ...state.budget_store import BudgetShortage, BudgetStoreUnreachableError, Reservation
from ...types import FailureCategory
from ..awaiting import time_limit
from .base import AttemptObserver, used_no_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from ...budgets import BudgetCounter, BudgetWindow
    from ...clock import Time
    from ...failures import ClassifiedFailure
    from ...routing.charges import BudgetClaim
    from ...state.budget_store import BudgetStore
    from ..steps import Try

log = logging.getLogger(__name__)

LEASE_SECONDS = 30.0
"""Seconds after a request's deadline at which its unsettled reservation expires, because its process has died."""
PATIENCE_SECONDS = 30.0
"""Seconds after which a store that does not answer counts as unreachable: over a thousand calls may queue for it."""
MOST_WARNED = 10_000
"""The most counters remembered as already logged."""


MOST = 10**17
"""The most that is settled for a request, in pico-dollars or tokens; more is taken for a provider's error."""


class HeldReservation(NamedTuple):
    """What is reserved for one request in flight.

    Attributes:
        claims: The budgets that the request uses, with the amounts.
        reservation: The reservation in the budget store.
    """

    claims: tuple[BudgetClaim, ...]
    reservation: Reservation


class BudgetReservations(AttemptObserver):
    """Reserves budgets for a request before it is sent, and settles them with its actual use afterwards.

    Args:
        store: The store of budget counters.
        time: The clocks. The wall clock determines the day and the month of a budget.
    """

    def __init__(self, store: BudgetStore, time: Time) -> None:
        self._store = store
        self._time = time
        self._held: dict[int, HeldReservation] = {}
        self._warned: dict[BudgetWindow, None] = {}
        self._is_away = False

    @property
    def may_block(self) -> bool:
        """Whether `reserve` may block while the store answers. If so, use `areserve` on an event loop."""
        return self._store.waits

    def reserve(self, step: Try) -> CandidateRejection | tuple[BudgetRemark, ...]:
        """Reserve the most that ``step`` could use, in all of its budgets or in none.

        Returns:
            A rejection if a budget has not enough left, or cannot be read and is closed then; otherwise
            remarks about budgets for the receipt.
        """
        found = self._claims(step)
        return self._reserved(step, found) if found else ()

    async def areserve(self, step: Try) -> CandidateRejection | tuple[BudgetRemark, ...]:
        """Reserve like `reserve`, but in a thread, and wait at most `PATIENCE_SECONDS`.

        A store that does not answer by then counts as unreachable. If the request is then rejected or cancelled,
        a late reservation is released.
        """
        if not (found := self._claims(step)):
            return ()
        reserving = asyncio.ensure_future(asyncio.to_thread(self._reserved, step, found))
        try:
            async with time_limit(PATIENCE_SECONDS):
                return await asyncio.shield(reserving)
        except TimeoutError:
            outcome = self._away(step, found, "no answer")
            if isinstance(outcome, CandidateRejection):
                reserving.add_done_callback(lambda _: self._settle(step, None))
            return outcome
        except asyncio.CancelledError:
            reserving.add_done_callback(lambda _: self._settle(step, None))
            raise

    def _claims(self, step: Try) -> tuple[BudgetClaim, ...]:
        return compute_budget_claims(step.candidate, step.route, self._time.now())

    def _reserved(
        self, step: Try, found: tuple[BudgetClaim, ...]
    ) -> CandidateRejection | tuple[BudgetRemark, ...]:
        seconds = step.most_seconds + LEASE_SECONDS
        charges = tuple(claim.charge for claim in found)
        held = HeldReservation(found, Reservation(os.urandom(16).hex(), charges, seconds))
        try:
            outcome = self._store.reserve(held.reservation)
            if not isinstance(outcome, BudgetShortage):
                self._held[step.number] = held
        except BudgetStoreUnreachableError as error:
            away = self._away(step, found, str(error))
            if not isinstance(away, CandidateRejection):
                self._held[step.number] = held  # it may have been set aside without a word
            return away
        except BaseException:  # raised into it from outside
            self._store.settle(held.reservation, [0] * len(found))
            raise
        if self._is_away:
            log.warning("the counters of budgets can be read again")
        self._is_away = False
        if isinstance(outcome, BudgetShortage):
            claim = found[charges.index(outcome.charge)]
            return make_budget_rejection(step.candidate, claim, outcome.counter, self._time.now())
        return tuple(self._marks(found, outcome))

    @override
    def on_ended(self, step: Try, attempt: Attempt, failure: ClassifiedFailure | None) -> None:
        self._settle(step, None if attempt.withdrawn else _used(step, attempt, failure))

    @override
    def on_abandoned(self, step: Try, attempt: Attempt | None) -> None:
        self._settle(step, None if attempt is None else _used(step, attempt, None))

    def _settle(self, step: Try, usage: TokenUsage | None) -> None:
        held = self._held.pop(step.number, None)
        if held is not None:
            used = [0 if usage is None else min(MOST, _amount(step, claim, usage)) for claim in held.claims]
            self._store.settle(held.reservation, used)

    def _away(
        self, step: Try, found: Sequence[BudgetClaim], why: str
    ) -> CandidateRejection | tuple[BudgetRemark, ...]:
        if not self._is_away:
            log.warning("the counters of budgets cannot be read: %s", why)
        self._is_away = True
        concerned = [claim.budget for claim in found]
        closed = next((budget for budget in concerned if budget.when_away == "closed"), None)
        if closed is not None:
            return make_unreadable_budget_rejection(step.candidate, closed)
        return tuple(BudgetRemark(budget.name, budget.per, "uncounted") for budget in concerned)

    def _marks(self, found: Sequence[BudgetClaim], counters: Sequence[BudgetCounter]) -> list[BudgetRemark]:
        """Remarks about the budgets that are nearly used up."""
        near = [
            (claim, counter)
            for claim, counter in zip(found, counters, strict=True)
            if counter.used_share(claim.budget.cap) >= claim.budget.warn_at
        ]
        for claim, counter in near:
            self._warn(claim, counter)
        return [BudgetRemark(claim.budget.name, claim.budget.per, "warning") for claim, _ in near]

    def _warn(self, claim: BudgetClaim, counter: BudgetCounter) -> None:
        """Log a warning, once for each counter."""
        budget, window = claim.budget, claim.charge.window
        if window in self._warned:
            return
        if len(self._warned) >= MOST_WARNED:
            self._warned.clear()
        self._warned[window] = None
        log.warning(
            "budget %s: %.0f %% of %s are used or set aside by the %s %s",
            budget.name,
            100 * counter.used_share(budget.cap),
            budget.format_amount(budget.cap + counter.raised),
            budget.per,
            sanitize_text(window.subject),
            extra={"event": "budget.warning", "budget": budget.name},
        )


def make_withdrawn_attempt(step: Try, time: Time) -> Attempt:
    """Build the record of a request that was chosen but not sent."""
    return Attempt(
        endpoint=str(step.candidate.endpoint),
        key_owner=step.candidate.owner,
        outcome="cancelled",
        started=time.now(),
        duration=timedelta(),
        category=FailureCategory.CANCELLED,
        withdrawn=True,
    )


def _used(step: Try, attempt: Attempt, failure: ClassifiedFailure | None) -> TokenUsage | None:
    """The tokens of an attempt; None if it never arrived or was refused.

    If the usage is unknown, the prompt counts as read.
    """
    if attempt.usage is not None:
        return attempt.usage
    if used_no_tokens(failure):
        return None
    return TokenUsage(input=step.route.needs.tokens)


def _amount(step: Try, claim: BudgetClaim, usage: TokenUsage) -> int:
    """The amount of ``usage`` in the unit of a budget; the whole reservation, if the cost is unknown."""
    if claim.budget.unit == "tokens":
        return usage.total
    endpoint = step.candidate.endpoint
    if endpoint.provider.access != "key":
        return 0
    usd: Decimal | None = compute_cost_on_day(step.route.today, endpoint, usage)
    return claim.charge.amount if usd is None else to_pico_usd(usd)
