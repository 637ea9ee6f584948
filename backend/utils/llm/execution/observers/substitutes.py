"""Which models served in the place of those that were asked for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .verdicts import unobserved

if TYPE_CHECKING:
    from ...failures import Failure
    from ...receipt import Attempt
    from ..steps import Try

log = logging.getLogger(__name__)

MOST = 20
"""Of one endpoint. A provider that names another one in every answer fills neither log nor memory."""


class Substitutes:
    """Those that the log was told of."""

    def __init__(self) -> None:
        self._known: dict[str, set[str | None]] = {}

    def is_news(self, endpoint: str, served: str | None) -> bool:
        """Whether it is new that ``endpoint`` is served as ``served``; from now on it is not."""
        known = self._known.setdefault(endpoint, set())
        if served in known or len(known) >= MOST:
            return False
        known.add(served)
        return True


class SubstituteObserver:
    """Tells the log of each once."""

    started = received = unobserved

    def __init__(self) -> None:
        self._substitutes = Substitutes()

    def ended(self, step: Try, attempt: Attempt, failure: Failure | None) -> None:
        """See `AttemptObserver`."""
        if failure is not None or not attempt.substituted:
            return
        is_embedded = step.candidate.endpoint.provider.access == "embedded"
        if not is_embedded and self._substitutes.is_news(attempt.endpoint, attempt.served_model):
            log.warning("%s was served as %s", attempt.endpoint, attempt.served_model)
