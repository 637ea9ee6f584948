"""Which models served in the place of those that were asked for: the log is told of each once."""

from __future__ import annotations

MOST = 20
"""Of one endpoint. A provider that names another one in every answer fills neither log nor memory."""


class Substitutes:
    """Those that the log was told of."""

    def __init__(self) -> None:
        self._told: dict[str, set[str | None]] = {}

    def is_news(self, endpoint: str, served: str | None) -> bool:
        """Whether nobody was told yet that ``endpoint`` was served as ``served``; from now on somebody was."""
        told = self._told.setdefault(endpoint, set())
        if served in told or len(told) >= MOST:
            return False
        told.add(served)
        return True
