"""Decides what happens to each tool call in a model's answer. The decision is made once, and stored with the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from langchain_core.messages import InvalidToolCall, ToolCall, message_chunk_to_message
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.messages.tool import invalid_tool_call, tool_call

from .canonical import parse_json_object, sha256_of_json
from .observations import make_error_observation
from .steps import JudgedToolCall
from .tools import InvalidArgumentsError

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
    """Join the streamed ``chunks`` of an answer to one message.

    A tool call whose JSON is truncated becomes an invalid tool call with its text unchanged, while LangChain
    would complete the JSON.
    """
    whole = add_ai_message_chunks(*chunks)
    good: list[ToolCall] = []
    bad: list[InvalidToolCall] = []
    for call in whole.tool_call_chunks:
        name, text, call_id = call["name"] or "", call["args"] or "{}", call["id"]
        try:
            good.append(tool_call(name=name, args=parse_json_object(text), id=call_id))
        except ValueError as error:
            bad.append(invalid_tool_call(name=name, args=text, id=call_id, error=str(error)))
    found = cast("AIMessage", message_chunk_to_message(whole))
    return found.model_copy(update={"tool_calls": good, "invalid_tool_calls": bad})


def has_hit_token_limit(answer: AIMessage) -> bool:
    """Whether ``answer`` was truncated because it reached its token limit."""
    return answer.response_metadata.get("finish_reason") in _CUT_OFF


def ensure_tool_call_ids(answer: AIMessage, step_number: int) -> AIMessage:
    """Return ``answer`` with a unique id for each tool call; unchanged if all ids are present and different.

    Args:
        answer: The model's answer.
        step_number: The number of the answer's step in the run. New ids contain it, to be unique in the run.
    """
    calls, bad = list(answer.tool_calls), list(answer.invalid_tool_calls)
    ids = [call["id"] for call in (*calls, *bad)]
    if all(ids) and len(set(ids)) == len(ids):
        return answer
    made = iter(range(len(ids)))
    return answer.model_copy(
        update={
            "tool_calls": [{**call, "id": f"call_{step_number}_{next(made)}"} for call in calls],
            "invalid_tool_calls": [{**call, "id": f"call_{step_number}_{next(made)}"} for call in bad],
        }
    )


class ToolCallJudge:
    """Decides for each tool call of one agent whether it is executed, confirmed first, delegated or refused.

    ``agents`` are all agents of the application, among them those to which the agent may delegate.
    """

    def __init__(self, agent: Agent, agents: Agents) -> None:
        self._agent = agent
        self._agents = agents

    def make_function_definitions(self) -> list[dict[str, Any]]:
        """Make the function definitions for the model: of the allowed tools, and of the agents to delegate to."""
        own = [tool.to_function_definition() for tool in self._agent.tools if tool.policy != "deny"]
        return own + [_as_function(self._agents[name]) for name in self._agent.delegates]

    def judge_tool_calls(
        self, answer: AIMessage, step_number: int, calls_left: int, *, is_truncated: bool
    ) -> tuple[JudgedToolCall, ...]:
        """Decide for every tool call of ``answer`` whether it is executed, confirmed first, delegated or refused.

        Args:
            answer: The model's answer. All of its tool calls must have ids.
            step_number: The number of the answer's step in the run.
            calls_left: How many more tool calls the run may make. Calls beyond this number are not executed.
            is_truncated: Whether the answer was truncated. If so, none of its calls is executed.

        Returns:
            The calls in order, each with its verdict, and a refused call with the reason for the model.
        """
        judged: list[JudgedToolCall] = []
        for place, call in enumerate(answer.tool_calls):
            one = JudgedToolCall(
                key=f"{step_number}.{place}", id=call["id"] or "", name=call["name"], verdict="refuse"
            )
            judged.append(
                _refused(one, "CutOff", "The call was cut off.")
                if is_truncated
                else self._judged(one, call["args"], judged)
            )
        for place, bad in enumerate(answer.invalid_tool_calls, len(judged)):
            one = JudgedToolCall(
                key=f"{step_number}.{place}", id=bad["id"] or "", name=bad["name"] or "", verdict="refuse"
            )
            judged.append(_refused(one, "InvalidArguments", "The arguments are no JSON object."))
        return _within(judged, calls_left)

    def _judged(
        self, call: JudgedToolCall, arguments: Mapping[str, Any], before: Sequence[JudgedToolCall]
    ) -> JudgedToolCall:
        if call.name in self._agent.delegates:
            return _delegated(call, arguments)
        tool = self._agent.find_tool(call.name)
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
            accepted = tool.validate_arguments(arguments)
        except InvalidArgumentsError as error:
            return _refused(call, "InvalidArguments", str(error))
        if any((item.name, item.arguments) == (call.name, accepted) for item in before):
            return _refused(call, "Repeated", "The same call stands before this one. It is made once.")
        found = {
            "arguments": accepted,
            "definition": tool.definition_hash,
            "terms": tool.risk_and_policy,
            "verdict": verdict_for_tool(tool),
        }
        return call.model_copy(update=found)


def verdict_for_tool(tool: Tool) -> Verdict:
    """Decide what happens to a valid call of ``tool``.

    Returns:
        ``ask`` if a person must approve the call; ``run`` if the tool only reads; ``record`` if the tool
        changes something without approval.
    """
    if tool.policy == "ask":
        return "ask"
    return "run" if tool.risk == "read" else "record"


def _within(calls: Sequence[JudgedToolCall], left: int) -> tuple[JudgedToolCall, ...]:
    """``calls``, of which at most ``left`` may be executed."""
    found: list[JudgedToolCall] = []
    for call in calls:
        if call.verdict != "refuse":
            left -= 1
        if left < 0 and call.verdict != "refuse":
            fault = make_error_observation(
                "TooManyCalls", "No more tools may be called. Answer with what you have."
            ).content
            found.append(call.model_copy(update={"verdict": "over", "fault": fault}))
        else:
            found.append(call)
    return tuple(found)


def _refused(call: JudgedToolCall, code: str, message: str) -> JudgedToolCall:
    return call.model_copy(update={"fault": make_error_observation(code, message).content})


def _delegated(call: JudgedToolCall, arguments: Mapping[str, Any]) -> JudgedToolCall:
    task = arguments.get("task")
    if not isinstance(task, str) or not task.strip() or len(task) > LONGEST_TASK or len(arguments) > 1:
        return _refused(
            call, "InvalidArguments", f"Give the task alone, as a text of up to {LONGEST_TASK} characters."
        )
    return call.model_copy(
        update={"arguments": task, "verdict": "delegate", "definition": sha256_of_json(call.name)[:16]}
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
