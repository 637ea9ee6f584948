"""What an application wants to see of attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .verdicts import unobserved

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...failures import Failure
    from ...receipt import Attempt
    from ...routing.route import Route
    from ..steps import Try

    Observer = Callable[[Route, Attempt], None]


class ApplicationObserver:
    """Tells ``observe`` of every attempt, once it is over."""

    started = received = unobserved

    def __init__(self, observe: Observer) -> None:
        self._observe = observe

    def ended(self, step: Try, attempt: Attempt, _: Failure | None) -> None:
        """See `AttemptObserver`."""
        if not attempt.withdrawn:
            self._observe(step.route, attempt)
