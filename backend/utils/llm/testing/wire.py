"""Requests and answers as values, independent of the wire: requests are read into them, answers written from them.

A wire is a provider's HTTP API. ``read`` turns a request body into a ``Prompt``; ``whole`` turns an ``Utterance`` into a
body, and ``events`` into the events of a stream. Both directions are pure.
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
class Turn:
    """One message: its role, its text, and the kinds of its attachments (``image``, ``audio``, ``file``)."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    attachments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as the request declares it; ``parameters`` is a JSON schema (Gemini's capitals are accepted)."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A request as read from any wire (a provider's HTTP API).

    Attributes:
        turns: The conversation, system messages included.
        tools: The tools that may be called; empty if the request forbids calls.
        forced: The names of the tools of which one must be called.
        schema: The JSON schema that the answer must satisfy, if any.
        json_object: Whether the answer must be any JSON object.
        stop: Sequences that end the answer, and are not part of the answer.
        max_tokens: The most tokens of the answer; None without a limit.
        reasoning: Whether the request asks the model to reason first.
        logprobs: The number of alternatives wanted for each word, with their log probabilities; None if not wanted.
    """

    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()
    forced: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    json_object: bool = False
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    reasoning: bool = False
    logprobs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """The answer to one request, before a wire (a provider's HTTP API) writes it.

    Attributes:
        number: The answer's number at this server; ids are made from it.
        model: The model's name in the answer.
        usage: The usage that the answer reports.
        pieces: The text, in the pieces of a stream.
        calls: Tool calls.
        refusal: The model's refusal, in the pieces of a stream; None if the model answers.
        finish: The finish reason; None if the answer gives none.
        beside: The finish reason of an empty second choice; None for no second choice.
        candidates: 0 for an answer without any choice.
        blocked: Whether a filter stopped the prompt.
        logprobs: See `Prompt.logprobs`.
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
        """The whole text; empty if there is none."""
        return "".join(self.pieces)


class Wire(Protocol):
    """One provider's HTTP API, as pure functions."""

    @property
    def name(self) -> WireName:
        """The wire's name in a recorded request."""
        ...

    @property
    def names_events(self) -> bool:
        """Whether each event of a stream has an SSE event name, equal to its ``type``."""
        ...

    def read(self, body: Mapping[str, Any]) -> Prompt:
        """Read the request ``body``. Unknown fields are ignored."""
        ...

    def whole(self, utterance: Utterance, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body of an answer that is not streamed; ``body`` is the request's."""
        ...

    def events(self, utterance: Utterance, body: Mapping[str, Any]) -> Iterator[str]:
        """The data of each server-sent event of a stream; ``body`` is the request's."""
        ...

    def error(self, status: Status) -> tuple[dict[str, Any], dict[str, str]]:
        """The body and headers of the error ``status``."""
        ...

    def rejected_key(self, key: str | None) -> Status:
        """The real provider's answer to an unknown ``key``, or to a request without a key."""
        ...

    def models(self, names: tuple[str, ...]) -> dict[str, Any]:
        """The body of the list of models."""
        ...


def estimate_tokens(text: str) -> int:
    """An estimate of the tokens in ``text``: its characters divided by 4, rounded up, and at least 1."""
    return max(1, math.ceil(len(text) / _CHARACTERS_PER_TOKEN))


def tokens_to_characters(tokens: int) -> int:
    """The most characters that `estimate_tokens` counts as ``tokens``."""
    return tokens * _CHARACTERS_PER_TOKEN


def words(text: str) -> tuple[str, ...]:
    """The text in pieces of one word and the space after it; joined, they are ``text``."""
    return tuple(re.findall(r"\s*\S+\s*", text)) or ((text,) if text else ())


def slices(text: str, count: int) -> tuple[str, ...]:
    """The text in at most ``count`` pieces of nearly equal length, none of them empty."""
    edges = [len(text) * index // count for index in range(count + 1)]
    return tuple(text[start:end] for start, end in pairwise(edges) if end > start)
