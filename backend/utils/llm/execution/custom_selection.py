"""The questions of a call to the application's selectors, and the check of their answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..options import Options
from ..routing.route import Candidate
from ..routing.rules import SELECTOR_RULES, rejected
from ..routing.selector import Choosing, Pause, Stop, Use
from ..strategies import Custom
from . import outcome_errors
from .steps import Consult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..errors import LLMError
    from ..receipt import Attempt
    from ..routing.route import Route
    from ..state.health import Unavailable
    from .steps import Pending

MOST_QUESTIONS = 100
"""The most questions to selectors in one call, against selectors that never decide."""


class CustomSelection:
    """The questions of one call to custom selectors."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._asked: Consult | None = None
        self._questions = 0

    def question(
        self,
        free: tuple[Candidate, ...],
        attempts: Sequence[Attempt],
        resting: dict[str, Unavailable],
        seconds_left: float,
    ) -> Consult:
        """The question to the selector which of ``free``, all of one tier, to ask next.

        Raises:
            SelectorError: Selectors were asked more than `MOST_QUESTIONS` times in this call.
        """
        route, select = self._route, free[0].select
        assert isinstance(select, Custom)  # noqa: S101 - no other tier is asked about
        self._questions += 1
        if self._questions > MOST_QUESTIONS:
            what = f"was asked {MOST_QUESTIONS} times and came to no end"
            raise outcome_errors.selector_error(route, attempts, select.name, what)
        choosing = Choosing(
            feature=route.feature.name,
            caller=route.caller.without_keys(),
            needs=route.needs,
            candidates=free,
            attempts=tuple(attempts),
            seconds_left=seconds_left,
            attempts_left=route.feature.max_attempts - len(attempts),
            resting=resting,
        )
        self._asked = Consult(select.name, choosing)
        return self._asked

    def interpret(
        self, choice: object, left: Sequence[Pending], attempts: Sequence[Attempt]
    ) -> Pause | tuple[Pending, Pending]:
        """Translate the selector's ``choice`` into a pause, or one of the requests ``left`` with the settings that it chose.

        Raises:
            SelectionStoppedError: The selector ended the call.
            SelectorError: The selector returned something invalid.
        """
        assert self._asked is not None  # noqa: S101 - told only after a question
        name, free = self._asked.selector, self._asked.choosing.candidates
        match choice:
            case Stop(reason):
                raise outcome_errors.stopped(self._route, attempts, name, reason)
            case Pause(float() | int()) as pause:
                return pause
            case Use(Candidate() as candidate, Options() as options):
                used = replace(candidate, options=options.over(candidate.options))
            case Candidate() as candidate:
                used = candidate
            case _:
                raise self._error(attempts, f"said {_named(choice)}, which is no choice")
        pending = next((one for one in left if one.candidate is candidate), None)
        if pending is None or not any(one is candidate for one in free):
            raise self._error(attempts, f"chose {_named(choice)}, which is none of the candidates")
        fault = rejected(used, self._route, SELECTOR_RULES)
        if fault is not None:
            what = f"set options that {candidate.name} cannot be asked with: {fault.reason}"
            raise self._error(attempts, what)
        return pending, pending._replace(candidate=used)

    def _error(self, attempts: Sequence[Attempt], what: str) -> LLMError:
        assert self._asked is not None  # noqa: S101 - told only after a question
        return outcome_errors.selector_error(self._route, attempts, self._asked.selector, what)


def _named(choice: object) -> str:
    """What a selector said, without anything that could be secret."""
    return str(getattr(choice, "endpoint", type(choice).__name__))
