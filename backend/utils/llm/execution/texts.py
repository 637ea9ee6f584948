"""Stores prompts and answers of features whose row has ``keep_text_days``, in the application's sink."""

from __future__ import annotations

import logging
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from ..ledger.texts import AttemptText

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_core.messages import AIMessage, BaseMessage

    from ..ledger.texts import TextSink
    from ..receipt import Attempt
    from .steps import Try

log = logging.getLogger(__name__)

MOST_CHARACTERS = 200_000
"""The most characters kept of an attempt's prompt, where the latest messages win, and of its answer."""


class CallTextRecorder:
    """Passes prompts and answers to a `TextSink`, for features whose row has ``keep_text_days``.

    If the sink raises an exception, the call continues and the text is lost. Only the first loss is logged.

    Args:
        sink: The application's sink; None to store no texts.
    """

    def __init__(self, sink: TextSink | None) -> None:
        self._sink = sink
        self._lost = 0

    def record_text(
        self, step: Try, attempt: Attempt, messages: Sequence[BaseMessage], answer: AIMessage | None
    ) -> None:
        """Store the prompt and the answer of ``attempt``, if its feature has ``keep_text_days`` and it was sent."""
        days = step.route.feature.keep_text_days
        if self._sink is None or days is None or attempt.withdrawn:
            return
        try:
            self._sink.keep(_text_of(step, attempt, days, messages, answer))
        except Exception as error:  # noqa: BLE001 - the answer is worth more
            self._lost += 1
            if self._lost == 1:
                log.error("a text could not be kept: %s", type(error).__name__)  # noqa: TRY400 - it may be quoted there


def _text_of(
    step: Try, attempt: Attempt, days: int, messages: Iterable[BaseMessage], answer: AIMessage | None
) -> AttemptText:
    route = step.route
    until = attempt.started.astimezone(UTC).date() + timedelta(days=days)
    return AttemptText(
        call=route.call_id,
        number=attempt.number,
        until=until.isoformat(),
        feature=route.feature.name,
        user=route.caller.user_id,
        tenant=route.caller.tenant_id,
        messages=_shortened([[message.type, message.text] for message in messages]),
        answer=None if answer is None else answer.text[:MOST_CHARACTERS],
        tool_calls=[] if answer is None else [[call["name"], call["args"]] for call in answer.tool_calls],
    )


def _shortened(messages: list[list[str]]) -> list[list[str]]:
    """``messages`` within the limit of length: the earliest texts are cut."""
    left, kept = MOST_CHARACTERS, []
    for speaker, text in reversed(messages):
        kept.append([speaker, text[max(0, len(text) - left) :]])
        left = max(0, left - len(text))
    return kept[::-1]
