"""A request for a completion, in the form that is the same for all HTTP protocols."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from uuid_utils import uuid7

from backend.utils.llm.options import NO_OPTIONS, Options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage


MOST_IGNORED: Final = 20
_LONGEST_IGNORED: Final = 64
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.\-]")
"""Characters that a header's list of names cannot hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """A request for a completion, in the form that is the same for all HTTP protocols.

    Attributes:
        model: The name of a feature, ``group:NAME`` for a group, or ``@NAME`` for an agent.
        messages: The conversation, as LangChain's messages.
        tools: The tools, in the form of Chat Completions. All of them are functions.
        tool_choice: ``auto``, ``none``, ``required``, or the name of the tool to call; None leaves it to the
            provider.
        parallel_tool_calls: Whether one answer may call several tools; None leaves it to the provider.
        response_format: The format of the answer, in the form of Chat Completions; None for plain text.
        options: Options of the model call, such as the temperature.
        is_strict: Whether the request fails if no endpoint supports its options. Otherwise, some options may be
            left out, and the answer names them.
        stop: The stop sequences.
        choices: How many answers are wanted.
        streams: Whether to stream the answer.
        cache_key: The prompt cache key, shared by requests with the same prefix; None for none.
        metadata: The client's own key-value pairs, which are not sent to the provider.
        ignored: The names of requested features that this service does not support, for a response header.
        text_tools: The names of functions that replace custom tools of Chat Completions. In the answer, the
            arguments of their calls are plain text.
        ids: The call id of each choice, as in its receipt and in the ledger.
    """

    model: str
    messages: Sequence[BaseMessage]
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    response_format: Mapping[str, Any] | None = None
    options: Options = NO_OPTIONS
    is_strict: bool = False
    stop: Sequence[str] = ()
    choices: int = 1
    streams: bool = False
    cache_key: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    ignored: Sequence[str] = ()
    text_tools: frozenset[str] = frozenset()
    ids: Sequence[str] = ()

    def __post_init__(self) -> None:
        names = list(dict.fromkeys(self.ignored))[:MOST_IGNORED]
        object.__setattr__(self, "ignored", [_UNSAFE.sub("?", name[:_LONGEST_IGNORED]) for name in names])
        if len(self.ids) != self.choices:
            object.__setattr__(self, "ids", tuple(str(uuid7()) for _ in range(self.choices)))

    @property
    def id(self) -> str:
        """The id of the whole request: the call id of its first choice."""
        return self.ids[0]

    @property
    def created(self) -> int:
        """The time of the request, in whole seconds since 1970, taken from its id, which is a UUIDv7."""
        return int(self.id.replace("-", "")[:12], 16) // 1000
