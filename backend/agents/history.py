"""The history of a run as messages for the model: every tool call has a result, even if it was not executed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from .canonical import to_storable
from .observations import of_fault
from .steps import AnswerStep, OpeningStep, ResultStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from .runs import Exchange
    from .steps import Call, Step

_KINDS: Final[Mapping[str, type[BaseMessage]]] = {"ai": AIMessage, "human": HumanMessage, "tool": ToolMessage}
KEPT: Final = {
    "type",
    "content",
    "additional_kwargs",
    "tool_calls",
    "invalid_tool_calls",
    "id",
    "tool_call_id",
    "status",
    "name",
}
"""The fields of a message that are stored: all but the receipt and usage of its call."""
NOT_DONE: Final = of_fault("NotDone", "This was not done.").content


def message_to_json(message: BaseMessage) -> dict[str, Any]:
    """Convert ``message`` to JSON for storing, without its receipt and its usage."""
    found: dict[str, Any] = to_storable(message.model_dump(mode="json", include=KEPT, exclude_none=True))
    return found


def message_from_json(message: Mapping[str, Any]) -> BaseMessage:
    """Convert JSON from `message_to_json` back to a message."""
    return _KINDS[message["type"]](**message)


def user_message(question: str) -> dict[str, Any]:
    """Convert a user's message to JSON for storing."""
    return message_to_json(HumanMessage(question))


def exchange_messages(exchanges: Iterable[Exchange]) -> Iterator[dict[str, Any]]:
    """Convert earlier questions and answers of the conversation to JSON messages for storing."""
    for question, answer in exchanges:
        yield user_message(question)
        yield message_to_json(AIMessage(answer))


def messages(steps: Sequence[Step], not_done: str = NOT_DONE) -> list[BaseMessage]:
    """Build the message history for the model from the steps of a run.

    Args:
        steps: All steps of the run.
        not_done: The result to show the model for a call that has none.
    """
    results = {step.call: step for step in steps if isinstance(step, ResultStep)}
    found: list[BaseMessage] = []
    for step in steps:
        if isinstance(step, OpeningStep):
            found += map(message_from_json, step.messages)
        elif isinstance(step, AnswerStep):
            found.append(message_from_json(step.message))
            found += [_result(call, results.get(call.key), not_done) for call in step.calls]
    return found


def _result(call: Call, observed: ResultStep | None, not_done: str) -> ToolMessage:
    content = observed.content if observed else call.fault or not_done
    is_error = observed is None or observed.status != "ok"
    return ToolMessage(
        content, tool_call_id=call.id, name=call.name, status="error" if is_error else "success"
    )
