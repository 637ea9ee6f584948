"""Stop sequences for an API that has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Stops:
    """Ends a text, which comes in pieces, before the first of some sequences.

    What may be the beginning of such a sequence is held back until the next piece tells.
    """

    def __init__(self, sequences: Sequence[str] | None = None) -> None:
        self._sequences = tuple(filter(None, sequences or ()))
        self._held = ""
        self._over = False

    def cut(self, text: str) -> str:
        """A whole text, up to the end."""
        return self.add(text) + self.rest()

    def add(self, piece: str) -> str:
        """What can be said for sure once ``piece`` has come."""
        if self._over:
            return ""
        text = self._held + piece
        ends = [end for end in map(text.find, self._sequences) if end >= 0]
        self._over = bool(ends)
        sure = min(ends) if ends else len(text) - self._doubtful(text)
        self._held = "" if ends else text[sure:]
        return text[:sure]

    def rest(self) -> str:
        """What was held back, when no more comes."""
        held, self._held = self._held, ""
        return held

    def _doubtful(self, text: str) -> int:
        """How many of the last characters may begin a sequence."""
        longest = max(map(len, self._sequences), default=1) - 1
        return next(
            (
                length
                for length in range(min(longest, len(text)), 0, -1)
                if any(sequence.startswith(text[-length:]) for sequence in self._sequences)
            ),
            0,
        )
