"""Replaces tool names that some provider would refuse by names that all accept, and puts the client's names into the answer.

Clients of Anthropic's API name tools with up to 128 characters, those of MCP servers with dots: OpenAI and Gemini refuse both.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import aclosing
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import AIMessage

from .answer import ToolCallDelta
from .faults import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from .answer import Answer, Event
    from .request import CompletionRequest

LONGEST_NAME: Final = 64
_ACCEPTED_BY_ALL: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_-]{{0,{LONGEST_NAME - 1}}}")
_INVALID: Final = re.compile(r"[^A-Za-z0-9_-]")
_HASH_DIGITS: Final = 8


class ToolNameReplacer:
    """Replaces tool names that some provider would reject, and restores the client's names in the answer.

    ``bool()`` of an instance is False if no name has to be replaced.

    Args:
        names: The names of all tools of one request.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._sent: dict[str, str] = {}
        taken = set(names)
        for name in names:
            if _ACCEPTED_BY_ALL.fullmatch(name) is None:
                self._sent[name] = sent = _accepted(name, taken)
                taken.add(sent)
        self._given = {sent: given for given, sent in self._sent.items()}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._sent)

    def replace_in_request(self, request: CompletionRequest) -> CompletionRequest:
        """Return a copy of ``request`` with the replaced names in the tools, the tool choice and the message history."""
        choice = request.tool_choice
        return replace(
            request,
            tools=[self._tool(tool) for tool in request.tools],
            tool_choice=choice and self._sent.get(choice, choice),
            messages=[self._message(message) for message in request.messages],
        )

    def restore_in_answer(self, answer: Answer) -> Answer:
        """Return a copy of ``answer`` whose tool calls have the client's own tool names again."""
        choices = [
            replace(choice, calls=[call._replace(name=self._client_name(call.name)) for call in choice.calls])
            for choice in answer.choices
        ]
        return replace(answer, choices=choices)

    async def restore_in_events(self, events: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
        """Yield ``events``, in which tool calls have the client's own tool names again. Closes ``events`` at the end."""
        async with aclosing(events):
            async for event in events:
                if isinstance(event, ToolCallDelta) and event.name is not None:
                    yield event._replace(name=self._client_name(event.name))
                else:
                    yield event

    def _client_name(self, name: str) -> str:
        return self._given.get(name, name)

    def _tool(self, tool: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**tool, "function": self._named(tool["function"])}

    def _named(self, named: Mapping[str, Any]) -> dict[str, Any]:
        return {**named, "name": self._sent.get(named["name"], named["name"])}

    def _message(self, message: BaseMessage) -> BaseMessage:
        if not isinstance(message, AIMessage):
            return message
        content: Any = message.content
        if isinstance(content, list):
            content = [self._block(block) for block in content]
        calls = {
            "tool_calls": list(map(self._named, message.tool_calls)),
            "invalid_tool_calls": list(map(self._named, message.invalid_tool_calls)),
        }
        return message.model_copy(update={"content": content, **calls})

    def _block(self, block: Any) -> Any:
        is_call = isinstance(block, dict) and block.get("type") == "tool_use"
        return self._named(block) if is_call else block


def list_tool_names(tools: Iterable[Mapping[str, Any]]) -> list[str]:
    """List the names of ``tools``, which are in the form of Chat Completions."""
    return [tool["function"]["name"] for tool in tools]


def check_tool_names_unique(tools: Iterable[Mapping[str, Any]]) -> None:
    """Check that no two ``tools`` have the same name.

    Raises:
        InvalidRequestError: Two tools have the same name.
    """
    seen = set[str]()
    for name in list_tool_names(tools):
        if name in seen:
            raise InvalidRequestError(f"Two tools are called {name!r}.", "tools")
        seen.add(name)


def _accepted(name: str, taken: set[str]) -> str:
    """``name`` as all accept it and none of ``taken``, with a hash if something of it would be lost."""
    clean = _INVALID.sub("_", name)
    clean = clean if clean[0].isalpha() or clean[0] == "_" else f"_{clean}"
    if len(clean) <= LONGEST_NAME and clean not in taken:
        return clean
    hashed = (_hashed(clean, f"{name}{'.' * times}") for times in count())
    return next(sent for sent in hashed if sent not in taken)


def _hashed(clean: str, name: str) -> str:
    digits = hashlib.sha256(name.encode(errors="replace")).hexdigest()[:_HASH_DIGITS]
    return f"{clean[: LONGEST_NAME - _HASH_DIGITS - 1]}_{digits}"
