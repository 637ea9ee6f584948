"""Where a conversation stands on a ladder of endpoints."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

MOST_CONVERSATIONS = 10_000
"""Beyond this many the one that was heard of longest ago is forgotten."""


class Rung(NamedTuple):
    """An endpoint, and the longest prompt that it is for, in tokens."""

    endpoint: str
    longest: int


class SessionAffinity:
    """The rung on which each conversation stands. Not thread-safe: the owner holds a lock."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str], Rung] = OrderedDict()

    def last(self, scope: str, conversation: str) -> Rung | None:
        """The rung of the ladder that last served ``conversation`` in ``scope``; None if none did."""
        return self._last.get((scope, conversation))

    def served(self, scope: str, conversation: str, rung: Rung, tokens: int) -> None:
        """Note that ``rung`` serves ``conversation`` now, whose prompt has so many tokens.

        If the prompt still fits where it stood, something else kept it from being served there, and it stands there still.
        """
        last = self._last.get((scope, conversation))
        if last is None or tokens > last.longest or rung.longest < last.longest:
            self._last[scope, conversation] = rung
        self._last.move_to_end((scope, conversation))
        if len(self._last) > MOST_CONVERSATIONS:
            self._last.popitem(last=False)
