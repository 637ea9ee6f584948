"""The history of a run as a model reads it: every call is answered, at once, whatever became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from .canonical import storable
from .observations import of_fault
from .steps import Answered, Observed, Opened

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
"""What a message is without what is told of its making."""
NOT_DONE: Final = of_fault("NotDone", "This was not done.").content


def stored(message: BaseMessage) -> dict[str, Any]:
    """``message`` as JSON, without its receipt and its usage."""
    found: dict[str, Any] = storable(message.model_dump(mode="json", include=KEPT, exclude_none=True))
    return found


def restored(message: Mapping[str, Any]) -> BaseMessage:
    """The message that was `stored`."""
    return _KINDS[message["type"]](**message)


def said(question: str) -> dict[str, Any]:
    """What a user says, as it is stored."""
    return stored(HumanMessage(question))


def remembered(exchanges: Iterable[Exchange]) -> Iterator[dict[str, Any]]:
    """What was said before, as it is stored."""
    for question, answer in exchanges:
        yield said(question)
        yield stored(AIMessage(answer))


def messages(steps: Sequence[Step], not_done: str = NOT_DONE) -> list[BaseMessage]:
    """The history of a run with these steps.

    Args:
        steps: All of them.
        not_done: What the model is told of a call that has no result.
    """
    results = {step.call: step for step in steps if isinstance(step, Observed)}
    found: list[BaseMessage] = []
    for step in steps:
        if isinstance(step, Opened):
            found += map(restored, step.messages)
        elif isinstance(step, Answered):
            found.append(restored(step.message))
            found += [_result(call, results.get(call.key), not_done) for call in step.calls]
    return found


def _result(call: Call, observed: Observed | None, not_done: str) -> ToolMessage:
    content = observed.content if observed else call.fault or not_done
    is_error = observed is None or observed.status != "ok"
    return ToolMessage(
        content, tool_call_id=call.id, name=call.name, status="error" if is_error else "success"
    )
