"""How much of tool calls is taken from a stream whose sender nobody here knows.

LangChain reads the arguments of each chunk, and of all together, as JSON that is not complete yet. Garbage costs it the
square of its length there: a hundred kilobytes keep an event loop for minutes. So do very many calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..failures import BadAnswer, Category

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_CALLS = 128
MOST_CHARACTERS = 10_000
"""Of all arguments of an answer together."""


class StreamedCalls:
    """Counts the tool calls of one stream."""

    def __init__(self) -> None:
        self._calls: set[Any] = set()
        self._fragments = self._characters = 0

    def add(self, told: Mapping[str, Any]) -> None:
        """Those of one event.

        Raises:
            BadAnswer: They are more than is taken.
        """
        for choice in told.get("choices") or ():
            for call in (choice.get("delta") or {}).get("tool_calls") or ():
                self._calls.add(call.get("index"))
                self._fragments += 1
                self._characters += len((call.get("function") or {}).get("arguments") or "")
        if len(self._calls) > MOST_CALLS or self._fragments + self._characters > MOST_CHARACTERS:
            raise BadAnswer(Category.UNREADABLE)
