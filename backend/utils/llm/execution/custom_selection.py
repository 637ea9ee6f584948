"""The attempt loop of tables with custom selectors: the application chooses the next endpoint of a tier."""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING

from typing_extensions import override

from ..options import Options
from ..routing.route import Candidate
from ..routing.rules import SELECTOR_RULES, find_first_rejection
from ..routing.selector import Choosing, Pause, Stop, Use
from ..strategies import CustomStrategy
from . import outcome_errors
from .hedged_dispatch import HedgedDispatch
from .steps import LEAST_SECONDS, AskSelector, Wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..errors import LLMError
    from .steps import PendingRequest, ReserveThenTry, Try

MOST_QUESTIONS = 100
"""The most questions to selectors in one call, against selectors that never decide."""


class SelectorDispatch(HedgedDispatch):
    """An attempt loop that asks the application's selectors which endpoint of a custom tier to try next.

    In other tiers it chooses endpoints like `Dispatch`.
    """

    _questions = 0
    _promised: PendingRequest | None = None
    """The request that a selector chose and that is not due yet."""

    @override
    def _first_step(self, now: float) -> Try | ReserveThenTry | Wait | AskSelector | None:
        promised, self._promised = self._promised, None
        if promised is not None and promised in self._left:
            step = self._when_due(promised, now)
            if step is not None:
                return step
        return super()._first_step(now)

    @override
    def _first_of(
        self, tier: Sequence[PendingRequest], now: float
    ) -> Try | ReserveThenTry | Wait | AskSelector | None:
        select = tier[0].candidate.select
        if not isinstance(select, CustomStrategy):
            return super()._first_of(tier, now)
        free = tuple(
            pending.candidate for pending in self._in_order(tier) if self._may_be_chosen(pending, now)
        )
        return self._question(select, free, now) if free else None

    @override
    def _order_of_hedge(self, step: Try) -> Iterable[PendingRequest]:
        """The requests for a hedge, up to the tier for which a selector would be asked."""
        order = super()._order_of_hedge(step)
        return takewhile(lambda pending: not isinstance(pending.candidate.select, CustomStrategy), order)

    def _may_be_chosen(self, pending: PendingRequest, now: float) -> bool:
        """Whether the endpoint is available, or only on a cooldown that ends before the retry is due."""
        why = self._availability(pending.candidate)
        return why is None or (why.kind == "cooling" and now + why.seconds <= pending.not_before)

    def _when_due(self, pending: PendingRequest, now: float) -> Try | ReserveThenTry | Wait | None:
        """The request that a selector chose, once it is due; the selector is not asked again."""
        if pending.not_before > now:
            self._promised = pending
            return Wait(pending.not_before - now)
        return self._admitted(pending, now)

    def _question(self, select: CustomStrategy, free: tuple[Candidate, ...], now: float) -> AskSelector:
        """The question to the selector which of ``free``, all of one tier, to ask next.

        Raises:
            SelectorError: Selectors were asked more than `MOST_QUESTIONS` times in this call.
        """
        route = self.route
        self._questions += 1
        if self._questions > MOST_QUESTIONS:
            raise self.make_selector_error(
                select.name, f"was asked {MOST_QUESTIONS} times and came to no end"
            )
        resting = {skip.display_name: skip.rest for skip in route.skipped if skip.rest is not None}
        resting |= {
            candidate.display_name: why for candidate, why in self._availabilities() if why is not None
        }
        choosing = Choosing(
            feature=route.feature.name,
            caller=route.caller.without_keys(),
            needs=route.needs,
            candidates=free,
            attempts=tuple(self.attempts),
            seconds_left=self._ends_at - now,
            attempts_left=route.feature.max_attempts - len(self.attempts),
            resting=resting,
        )
        return AskSelector(select.name, choosing)

    def apply_choice(self, ask_step: AskSelector, choice: object) -> Try | ReserveThenTry | Wait:
        """Turn ``choice``, the return value of the application's selector, into the next step of the call.

        Args:
            ask_step: The step that named the selector and held its input.
            choice: A candidate, a `Use`, a `Pause` or a `Stop`; anything else is an error.

        Raises:
            SelectionStoppedError: The selector ended the call.
            SelectorError: The selector returned something invalid.
            LLMError: The call's deadline has passed.
        """
        left = self._ends_at - self._clock()
        if left < LEAST_SECONDS:
            raise self._too_late()
        match choice:
            case Stop(reason):
                raise outcome_errors.selector_stopped_error(
                    self.route, self.attempts, ask_step.selector, reason
                )
            case Pause(float() | int() as seconds):
                return Wait(min(max(0.0, seconds), left))
            case Use(Candidate() as candidate, Options() as options):
                used = replace(candidate, options=options.with_defaults(candidate.options))
            case Candidate() as candidate:
                used = candidate
            case _:
                raise self.make_selector_error(
                    ask_step.selector, f"said {_named(choice)}, which is no choice"
                )
        pending = self._pending(ask_step, candidate)
        if (fault := find_first_rejection(used, self.route, SELECTOR_RULES)) is not None:
            what = f"set options that {candidate.display_name} cannot be asked with: {fault.reason}"
            raise self.make_selector_error(ask_step.selector, what)
        settled = pending._replace(candidate=used)
        self._left = [settled if item is pending else item for item in self._left]
        with self._traffic.lock:
            return self._when_due(settled, self._clock()) or Wait(0.0)

    def _pending(self, asked: AskSelector, candidate: Candidate) -> PendingRequest:
        """The request to ``candidate``, which has to be one of those that the selector was ``asked`` about."""
        if any(item is candidate for item in asked.choosing.candidates):
            for pending in self._left:
                if pending.candidate is candidate:
                    return pending
        what = f"chose {_named(candidate)}, which is none of the candidates"
        raise self.make_selector_error(asked.selector, what)

    def make_selector_error(self, selector: str, fault: str) -> LLMError:
        """Build the error for a selector that failed or returned something invalid.

        ``fault`` completes a sentence that begins with the selector's name, such as "failed with KeyError".
        """
        return outcome_errors.selector_error(self.route, self.attempts, selector, fault)


def _named(choice: object) -> str:
    """A selector's choice in words, without anything that could be secret."""
    return str(getattr(choice, "endpoint", type(choice).__name__))
