"""Decides on each tool call of an answer: once, when the model answers. The decision is stored with the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from langchain_core.messages import InvalidToolCall, ToolCall, message_chunk_to_message
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.messages.tool import invalid_tool_call, tool_call

from .canonical import digest, read_object
from .observations import of_fault
from .steps import Call
from .tools import ArgumentsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import AIMessage, AIMessageChunk

    from .agent import Agent, Agents
    from .steps import Verdict
    from .tools import Tool

LONGEST_TASK: Final = 8_000
_CUT_OFF: Final = {"length", "max_tokens", "MAX_TOKENS", "max_output_tokens"}
_SHOWN: Final = 60
"""Characters of a name that a model made up."""


def join_chunks(chunks: Sequence[AIMessageChunk]) -> AIMessage:
    """Join the streamed ``chunks`` into one answer.

    A tool call with truncated JSON becomes an invalid call with its text unchanged, where LangChain would complete the
    JSON.
    """
    whole = add_ai_message_chunks(*chunks)
    good: list[ToolCall] = []
    bad: list[InvalidToolCall] = []
    for call in whole.tool_call_chunks:
        name, text, call_id = call["name"] or "", call["args"] or "{}", call["id"]
        try:
            good.append(tool_call(name=name, args=read_object(text), id=call_id))
        except ValueError as error:
            bad.append(invalid_tool_call(name=name, args=text, id=call_id, error=str(error)))
    found = cast("AIMessage", message_chunk_to_message(whole))
    return found.model_copy(update={"tool_calls": good, "invalid_tool_calls": bad})


def is_cut_off(answer: AIMessage) -> bool:
    """Whether ``answer`` was truncated because it reached its token limit."""
    return answer.response_metadata.get("finish_reason") in _CUT_OFF


def with_ids(answer: AIMessage, number: int) -> AIMessage:
    """Give all tool calls of ``answer`` new ids, if any id is missing or occurs twice; else return it unchanged.

    Args:
        answer: The model's answer.
        number: The number of the answer's step in the run, which makes the new ids unique.
    """
    calls, bad = list(answer.tool_calls), list(answer.invalid_tool_calls)
    ids = [call["id"] for call in (*calls, *bad)]
    if all(ids) and len(set(ids)) == len(ids):
        return answer
    made = iter(range(len(ids)))
    return answer.model_copy(
        update={
            "tool_calls": [{**call, "id": f"call_{number}_{next(made)}"} for call in calls],
            "invalid_tool_calls": [{**call, "id": f"call_{number}_{next(made)}"} for call in bad],
        }
    )


class Judge:
    """Decides for each tool call of one agent whether it is executed, confirmed, delegated or refused.

    Args:
        agent: The agent whose model answers.
        agents: All agents, for delegation.
    """

    def __init__(self, agent: Agent, agents: Agents) -> None:
        self._agent = agent
        self._agents = agents

    def functions(self) -> list[dict[str, Any]]:
        """The function definitions to send to the model: allowed tools, and the agents to which it may delegate."""
        own = [tool.as_function() for tool in self._agent.tools if tool.policy != "deny"]
        return own + [_as_function(self._agents[name]) for name in self._agent.delegates]

    def judge(self, answer: AIMessage, number: int, calls_left: int, *, is_cut: bool) -> tuple[Call, ...]:
        """Decide on every tool call of ``answer``: execute it, ask a person first, delegate it, or refuse it.

        Args:
            answer: The model's answer, whose calls have ids.
            number: The number of the answer's step in the run.
            calls_left: How many calls the run may still make. Calls beyond are not executed.
            is_cut: Whether the answer was truncated; then none of its calls is executed.

        Returns:
            The calls in their order, each with its verdict, and a refused one with the reason for the model.
        """
        judged: list[Call] = []
        for place, call in enumerate(answer.tool_calls):
            one = Call(key=f"{number}.{place}", id=call["id"] or "", name=call["name"], verdict="refuse")
            judged.append(
                _refused(one, "CutOff", "The call was cut off.")
                if is_cut
                else self._judged(one, call["args"], judged)
            )
        for place, bad in enumerate(answer.invalid_tool_calls, len(judged)):
            one = Call(key=f"{number}.{place}", id=bad["id"] or "", name=bad["name"] or "", verdict="refuse")
            judged.append(_refused(one, "InvalidArguments", "The arguments are no JSON object."))
        return _within(judged, calls_left)

    def _judged(self, call: Call, arguments: Mapping[str, Any], before: Sequence[Call]) -> Call:
        if call.name in self._agent.delegates:
            return _delegated(call, arguments)
        tool = self._agent.tool(call.name)
        if tool is None:
            known = ", ".join([*(tool.name for tool in self._agent.tools), *self._agent.delegates]) or "none"
            return _refused(
                call,
                "UnknownTool",
                f"There is no tool {call.name[:_SHOWN]!r}. Those that there are: {known}.",
            )
        if tool.policy == "deny":
            return _refused(call, "NotAllowed", "This tool may not be called.")
        try:
            accepted = tool.accepted(arguments)
        except ArgumentsError as error:
            return _refused(call, "InvalidArguments", str(error))
        if any((one.name, one.arguments) == (call.name, accepted) for one in before):
            return _refused(call, "Repeated", "The same call stands before this one. It is made once.")
        found = {
            "arguments": accepted,
            "definition": tool.definition,
            "terms": tool.terms,
            "verdict": verdict_of(tool),
        }
        return call.model_copy(update=found)


def verdict_of(tool: Tool) -> Verdict:
    """Decide how a valid call of ``tool`` is handled.

    ``ask`` if a person must approve it; ``run`` if it only reads; ``record`` if it changes something without approval.
    """
    if tool.policy == "ask":
        return "ask"
    return "run" if tool.risk == "read" else "record"


def _within(calls: Sequence[Call], left: int) -> tuple[Call, ...]:
    """``calls``, of which at most ``left`` may be executed."""
    found: list[Call] = []
    for call in calls:
        if call.verdict != "refuse":
            left -= 1
        if left < 0 and call.verdict != "refuse":
            fault = of_fault(
                "TooManyCalls", "No more tools may be called. Answer with what you have."
            ).content
            found.append(call.model_copy(update={"verdict": "over", "fault": fault}))
        else:
            found.append(call)
    return tuple(found)


def _refused(call: Call, code: str, message: str) -> Call:
    return call.model_copy(update={"fault": of_fault(code, message).content})


def _delegated(call: Call, arguments: Mapping[str, Any]) -> Call:
    task = arguments.get("task")
    if not isinstance(task, str) or not task.strip() or len(task) > LONGEST_TASK or len(arguments) > 1:
        return _refused(
            call, "InvalidArguments", f"Give the task alone, as a text of up to {LONGEST_TASK} characters."
        )
    return call.model_copy(
        update={"arguments": task, "verdict": "delegate", "definition": digest(call.name)[:16]}
    )


def _as_function(agent: Agent) -> dict[str, Any]:
    task = {"type": "string", "description": "What it is to do, with everything that it has to know."}
    parameters = {
        "type": "object",
        "properties": {"task": task},
        "required": ["task"],
        "additionalProperties": False,
    }
    return {
        "type": "function",
        "function": {"name": agent.name, "description": agent.about, "parameters": parameters},
    }
