"""Which endpoint served a conversation last."""

from __future__ import annotations

from collections import OrderedDict

MOST_CONVERSATIONS = 10_000
"""Beyond this many the one that was heard of longest ago is forgotten."""


class SessionAffinity:
    """The endpoint that served each conversation last. Its owner has the lock."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str], str] = OrderedDict()

    def last(self, scope: str, conversation: str) -> str | None:
        """The endpoint that served ``conversation`` last."""
        return self._last.get((scope, conversation))

    def served(self, scope: str, conversation: str, endpoint: str) -> None:
        """``endpoint`` serves ``conversation`` now."""
        self._last[scope, conversation] = endpoint
        self._last.move_to_end((scope, conversation))
        if len(self._last) > MOST_CONVERSATIONS:
            self._last.popitem(last=False)
