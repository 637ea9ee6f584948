"""The rung of a context ladder that serves each conversation."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

MOST_CONVERSATIONS = 10_000
"""Conversations kept; beyond that the least recently served is forgotten."""


class ContextLadderRung(NamedTuple):
    """An endpoint of a context ladder, and the longest prompt, in tokens, for which the ladder chooses it."""

    endpoint: str
    longest: int


class SessionAffinity:
    """Remembers which endpoint of a context ladder last served each conversation.

    Not thread-safe: the owner holds a lock.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str], ContextLadderRung] = OrderedDict()

    def find_last_rung(self, scope: str, conversation: str) -> ContextLadderRung | None:
        """Find the rung that last served ``conversation`` in ``scope``; None if unknown."""
        return self._last.get((scope, conversation))

    def record_rung(self, scope: str, conversation: str, rung: ContextLadderRung, tokens: int) -> None:
        """Record that ``rung`` served ``conversation``, whose prompt has ``tokens`` tokens.

        If the prompt still fits the smaller rung that served the conversation before, the smaller rung stays
        recorded.
        """
        last = self._last.get((scope, conversation))
        if last is None or tokens > last.longest or rung.longest < last.longest:
            self._last[scope, conversation] = rung
        self._last.move_to_end((scope, conversation))
        if len(self._last) > MOST_CONVERSATIONS:
            self._last.popitem(last=False)
