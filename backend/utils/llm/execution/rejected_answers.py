"""The rejected answers of a call: what a repair tells the model, and the best of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.messages import AIMessage, HumanMessage

from ..failures import Category

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from ..failures import BadAnswer
    from ..receipt import Attempt

_ADVICE = {
    Category.INVALID_OUTPUT: "That answer does not fit: {reason}. Answer again, with nothing but what was asked for.",
    Category.TRUNCATED: "Your answer was cut off at the length limit. Answer again: complete, and shorter.",
}


class RejectedAnswers:
    """The answers of one call that failed their tests, kept for a repair or as a last resort.

    Attributes:
        repair: The messages that ask the model to correct the last rejected answer.
        best: The rejected answer with the highest score, and its attempt; None if none has a score.
    """

    def __init__(self) -> None:
        self.repair: list[BaseMessage] = []
        self.best: tuple[AIMessage, Attempt] | None = None

    def add(self, answer: AIMessage | None, fault: BadAnswer, attempt: Attempt) -> None:
        """Remember a rejected answer and why it was rejected, for a repair and for `best`.

        Args:
            answer: The answer; None if nothing of it can be shown.
            fault: The reason for the rejection.
            attempt: The record of its request.
        """
        if answer is not None and attempt.score is not None:
            best = self.best[1].score if self.best is not None else None
            if best is None or attempt.score > best:
                self.best = answer, attempt
        advice = _ADVICE.get(fault.category)
        if advice is None:
            return
        is_short = fault.category is not Category.TRUNCATED
        text = answer.text if answer is not None else ""
        rejected = [AIMessage(text)] if text and is_short else []
        reason = fault.reason or "it is not what was asked for"
        self.repair = [*rejected, HumanMessage(advice.format(reason=reason))]
