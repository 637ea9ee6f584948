"""The rejected answers of a call: the messages of a repair request, and the best answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.messages import AIMessage, HumanMessage

from ..failures import FailureCategory

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from ..failures import BadAnswer
    from ..receipt import Attempt

_ADVICE = {
    FailureCategory.INVALID_OUTPUT: "That answer does not fit: {reason}. Answer again, with nothing but what was asked for.",
    FailureCategory.TRUNCATED: "Your answer was cut off at the length limit. Answer again: complete, and shorter.",
}


class RejectedAnswers:
    """The answers of one call that failed their tests.

    Attributes:
        repair: The messages that ask the model to correct the last rejected answer.
        best: The rejected answer with the highest score, and its attempt; None if none has a score.
    """

    def __init__(self) -> None:
        self.repair: list[BaseMessage] = []
        self.best: tuple[AIMessage, Attempt] | None = None

    def add_answer(self, answer: AIMessage | None, fault: BadAnswer, attempt: Attempt) -> None:
        """Add a rejected answer, which updates `repair` and `best`.

        Args:
            answer: The rejected answer; None if none was received that can be shown to the model.
            fault: Why the answer was rejected.
            attempt: The record of the attempt that got the answer.
        """
        if answer is not None and attempt.score is not None:
            best = self.best[1].score if self.best is not None else None
            if best is None or attempt.score > best:
                self.best = answer, attempt
        advice = _ADVICE.get(fault.category)
        if advice is None:
            return
        is_short = fault.category is not FailureCategory.TRUNCATED
        text = answer.text if answer is not None else ""
        rejected = [AIMessage(text)] if text and is_short else []
        reason = fault.reason or "it is not what was asked for"
        self.repair = [*rejected, HumanMessage(advice.format(reason=reason))]
