"""Applies stop sequences to answers of an API that has no such parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Stops:
    """Cuts a streamed text before the first stop sequence.

    A tail that may be the start of a stop sequence is held back until the next piece decides.

    Attributes:
        met: The stop sequence that ended the text; None if none did.
    """

    def __init__(self, sequences: Sequence[str] | None = None) -> None:
        self._sequences = tuple(filter(None, sequences or ()))
        self._held = ""
        self.met: str | None = None

    def cut(self, text: str) -> str:
        """The part of a whole ``text`` before the first stop sequence; all of it if there is none."""
        return self.add(text) + self.flush()

    def add(self, piece: str) -> str:
        """Add the next ``piece`` of a stream, and return the text that certainly precedes any stop sequence."""
        if self.met is not None:
            return ""
        text = self._held + piece
        ends = [(end, sequence) for sequence in self._sequences if (end := text.find(sequence)) >= 0]
        if ends:
            sure, self.met = min(ends)
        else:
            sure = len(text) - self._partial_match_length(text)
        self._held = "" if ends else text[sure:]
        return text[:sure]

    def ending(self, reason: str | None) -> str | None:
        """The finish reason to report: the provider's ``reason``, but ``stop`` for ``length`` after a stop sequence."""
        return "stop" if self.met is not None and reason == "length" else reason

    def flush(self) -> str:
        """The text held back as a possible start of a stop sequence, once the stream is over."""
        held, self._held = self._held, ""
        return held

    def _partial_match_length(self, text: str) -> int:
        """The length of the tail that may be the start of a sequence."""
        longest = max(map(len, self._sequences), default=1) - 1
        return next(
            (
                length
                for length in range(min(longest, len(text)), 0, -1)
                if any(sequence.startswith(text[-length:]) for sequence in self._sequences)
            ),
            0,
        )
