"""The history of a run as messages for the model: every tool call has a result, even if it was not executed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from .canonical import replace_unstorable_characters
from .observations import make_error_observation
from .steps import AnswerStep, OpeningStep, ToolResultStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from .runs import QuestionAndAnswer
    from .steps import JudgedToolCall, Step

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
NOT_DONE: Final = make_error_observation("NotDone", "This was not done.").content


def message_to_json(message: BaseMessage) -> dict[str, Any]:
    """Convert a LangChain message to JSON for storing, without its receipt and token usage."""
    found: dict[str, Any] = replace_unstorable_characters(
        message.model_dump(mode="json", include=KEPT, exclude_none=True)
    )
    return found


def message_from_json(message: Mapping[str, Any]) -> BaseMessage:
    """Convert JSON from `message_to_json` back to a LangChain message."""
    return _KINDS[message["type"]](**message)


def user_message_to_json(question: str) -> dict[str, Any]:
    """Convert the text of a user's message to the JSON of a LangChain message."""
    return message_to_json(HumanMessage(question))


def exchanges_to_json(exchanges: Iterable[QuestionAndAnswer]) -> Iterator[dict[str, Any]]:
    """Convert earlier questions and answers of a conversation to the JSON of LangChain messages, in order."""
    for question, answer in exchanges:
        yield user_message_to_json(question)
        yield message_to_json(AIMessage(answer))


def build_message_history(steps: Sequence[Step], missing_result_text: str = NOT_DONE) -> list[BaseMessage]:
    """Build the message history for the next model call from all steps of a run.

    Args:
        steps: All steps of the run.
        missing_result_text: The tool result that the model is shown for a call that has none.
    """
    results = {step.call: step for step in steps if isinstance(step, ToolResultStep)}
    found: list[BaseMessage] = []
    for step in steps:
        if isinstance(step, OpeningStep):
            found += map(message_from_json, step.messages)
        elif isinstance(step, AnswerStep):
            found.append(message_from_json(step.message))
            found += [_result(call, results.get(call.key), missing_result_text) for call in step.calls]
    return found


def _result(call: JudgedToolCall, observed: ToolResultStep | None, not_done: str) -> ToolMessage:
    content = observed.content if observed else call.fault or not_done
    is_error = observed is None or observed.status != "ok"
    return ToolMessage(
        content, tool_call_id=call.id, name=call.name, status="error" if is_error else "success"
    )
