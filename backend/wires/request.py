"""A request for an answer, whichever wire it came over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from uuid_utils import uuid7

from backend.utils.llm.options import NO_OPTIONS, Options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage


MOST_IGNORED: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """A request for an answer.

    Attributes:
        model: A feature, ``group:NAME``, or ``@NAME`` of an agent.
        messages: What was said so far, as LangChain's messages.
        tools: Functions only, in the form of Chat Completions.
        tool_choice: ``auto``, ``none``, ``required``, or the name of the tool to call.
        parallel_tool_calls: Whether one answer may call several tools; None leaves it to the model.
        response_format: What the answer has to fit, in the form of Chat Completions; None for a text.
        options: Temperature and its kin. What of them no endpoint takes is left out, and told as ignored.
        stop: Texts at which the answer ends.
        choices: How many answers are wanted.
        streams: Whether the answer is wanted as it comes.
        cache_key: What requests share that begin alike.
        metadata: What the client notes with its request. It goes nowhere.
        ignored: What was asked for and is not served, by the wire's names, each once: a header holds them.
        ids: The call's id for each choice: its receipt and the ledger have it, too.
    """

    model: str
    messages: Sequence[BaseMessage]
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    response_format: Mapping[str, Any] | None = None
    options: Options = NO_OPTIONS
    stop: Sequence[str] = ()
    choices: int = 1
    streams: bool = False
    cache_key: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    ignored: Sequence[str] = ()
    ids: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "ignored", list(dict.fromkeys(self.ignored))[:MOST_IGNORED])
        if len(self.ids) != self.choices:
            object.__setattr__(self, "ids", tuple(str(uuid7()) for _ in range(self.choices)))

    @property
    def id(self) -> str:
        """The id of the first choice's call."""
        return self.ids[0]

    @property
    def created(self) -> int:
        """When it was made, in seconds since 1970: a UUIDv7 begins with its milliseconds."""
        return int(self.id.replace("-", "")[:12], 16) // 1000
