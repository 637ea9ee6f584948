"""The form of requests and answers that all provider APIs share, and the interface of an imitated API.

An API parses a request's body into a ``ParsedRequest`` (``parse_request``), and turns a ``PlannedAnswer``
into a response's body (``make_response_body``) or into the events of a stream (``make_stream_events``).
Both directions are pure functions.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .replies import Finish, Status, Usage

WireName: TypeAlias = Literal["openai", "gemini", "anthropic"]

LOGPROB = -0.25
"""The log probability of every word, where a request asks for them."""
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class PromptTurn:
    """One message of a request: its role, its text, and the kinds of its attachments.

    Attributes:
        role: The sender of the message.
        text: The text; empty if there is none.
        attachments: ``image``, ``audio`` or ``file`` for each attachment.
    """

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    attachments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeclaredTool:
    """A tool that a request declares.

    Attributes:
        name: The tool's name.
        description: The description for the model.
        parameters: The JSON schema of its arguments. Types may be in capitals, as in Gemini's API.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedRequest:
    """A parsed request, in the same form for every provider's API.

    Attributes:
        turns: The messages, including system messages.
        tools: The tools that may be called; empty if the request forbids tool calls.
        forced: The names of the tools of which the model must call one; empty if it need not.
        schema: The JSON schema that the answer must fit; None if there is none.
        json_object: Whether the answer must be a JSON object.
        stop: The stop sequences, before which the answer ends.
        max_tokens: The maximum number of tokens of the answer; None without a limit.
        reasoning: Whether the request asks the model to reason first.
        logprobs: The number of alternatives for each word to report with log probabilities; None if not
            requested.
    """

    turns: tuple[PromptTurn, ...]
    tools: tuple[DeclaredTool, ...] = ()
    forced: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    json_object: bool = False
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    reasoning: bool = False
    logprobs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedAnswer:
    """The content of the answer to one request, before an API puts it into its own form.

    Attributes:
        number: The answer's number at this server, from which ids are made.
        model: The model's name in the answer.
        usage: The usage that the answer reports.
        pieces: The text, in the pieces of a stream.
        calls: The ``(name, arguments)`` of each tool call.
        refusal: The model's refusal, in the pieces of a stream; None if the model answers.
        finish: The finish reason; None if the answer has none.
        beside: The finish reason of an empty second choice; None for no second choice.
        candidates: 0 for an answer without any choice, otherwise 1.
        blocked: Whether a filter blocked the prompt.
        logprobs: See `ParsedRequest.logprobs`.
    """

    number: int
    model: str
    usage: Usage
    pieces: tuple[str, ...] = ()
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    refusal: tuple[str, ...] | None = None
    finish: Finish | None = "stop"
    beside: Finish | None = None
    candidates: Literal[0, 1] = 1
    blocked: bool = False
    logprobs: int | None = None

    @property
    def text(self) -> str:
        """The whole text of the answer; empty if there is none."""
        return "".join(self.pieces)


class FakeProviderApi(Protocol):
    """One provider's HTTP API, imitated for the loopback provider by pure functions, without I/O."""

    @property
    def name(self) -> WireName:
        """The API's name in recorded requests: ``openai``, ``gemini`` or ``anthropic``."""
        ...

    @property
    def has_event_names(self) -> bool:
        """Whether each server-sent event has an ``event:`` line with the ``type`` of its data."""
        ...

    def parse_request(self, body: Mapping[str, Any]) -> ParsedRequest:
        """Parse the body of a request. Unknown fields are ignored."""
        ...

    def make_response_body(self, answer: PlannedAnswer, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make the body of an answer that is not streamed.

        Args:
            answer: The content of the answer.
            body: The body of the request.
        """
        ...

    def make_stream_events(self, answer: PlannedAnswer, body: Mapping[str, Any]) -> Iterator[str]:
        """Yield the data of each server-sent event of a streamed answer.

        Args:
            answer: The content of the answer.
            body: The body of the request.
        """
        ...

    def make_error_body_and_headers(self, status: Status) -> tuple[dict[str, Any], dict[str, str]]:
        """Make the body and the headers of an error response, as the real provider would send it."""
        ...

    def make_api_key_error(self, key: str | None) -> Status:
        """Make the real provider's error reply to a request with an unknown ``key``, or without a key (None)."""
        ...

    def make_model_list(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Make the body of the response that lists the models ``names``."""
        ...


def estimate_tokens(text: str) -> int:
    """Estimate the number of tokens in ``text``: a quarter of its characters, rounded up, and at least 1."""
    return max(1, math.ceil(len(text) / _CHARACTERS_PER_TOKEN))


def max_characters_for_tokens(tokens: int) -> int:
    """Return the maximum number of characters that `estimate_tokens` counts as ``tokens``."""
    return tokens * _CHARACTERS_PER_TOKEN


def split_words(text: str) -> tuple[str, ...]:
    """Split ``text`` into words, each with the white space after it. The pieces joined give ``text`` again."""
    return tuple(re.findall(r"\s*\S+\s*", text)) or ((text,) if text else ())


def split_evenly(text: str, count: int) -> tuple[str, ...]:
    """Split ``text`` into at most ``count`` pieces of nearly equal length, without empty pieces."""
    edges = [len(text) * index // count for index in range(count + 1)]
    return tuple(text[start:end] for start, end in pairwise(edges) if end > start)
