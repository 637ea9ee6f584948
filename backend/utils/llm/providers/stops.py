"""Applies stop sequences to the text of an answer, for APIs without such a parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class StopSequenceFilter:
    """Cuts a text, complete or streamed, before the first stop sequence, for APIs without stop sequences.

    The end of a streamed piece is held back while it may be the beginning of a stop sequence.

    Args:
        sequences: The stop sequences; empty ones are ignored.

    Attributes:
        matched_sequence: The stop sequence that ended the text; None if none was found.
    """

    def __init__(self, sequences: Sequence[str] | None = None) -> None:
        self._sequences = tuple(filter(None, sequences or ()))
        self._held = ""
        self.matched_sequence: str | None = None

    def cut_at_stop_sequence(self, text: str) -> str:
        """Return the part of a complete text before its first stop sequence; all of the text if there is none."""
        return self.feed(text) + self.flush()

    def feed(self, piece: str) -> str:
        """Add the next ``piece`` of a stream, and return the text that is certainly before any stop sequence."""
        if self.matched_sequence is not None:
            return ""
        text = self._held + piece
        ends = [(end, sequence) for sequence in self._sequences if (end := text.find(sequence)) >= 0]
        if ends:
            sure, self.matched_sequence = min(ends)
        else:
            sure = len(text) - self._partial_match_length(text)
        self._held = "" if ends else text[sure:]
        return text[:sure]

    def correct_finish_reason(self, reason: str | None) -> str | None:
        """Return ``stop`` if ``reason`` is ``length`` but a stop sequence was found; else ``reason``.

        The provider does not know the stop sequences, so it may report that the token limit ended the text.
        """
        return "stop" if self.matched_sequence is not None and reason == "length" else reason

    def flush(self) -> str:
        """Return the held-back text at the end of the stream, where it can no longer become a stop sequence."""
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
