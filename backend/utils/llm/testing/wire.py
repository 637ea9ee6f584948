"""The values that every wire is read into, and written from.

A wire is a provider's HTTP API. ``read`` turns a request body into a ``Prompt``; an ``Utterance`` is turned into one
body by ``whole``, or into the events of a stream by ``events``. Both directions are pure.
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
"""What every word is said to be likely, where a request asks for that."""
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: who, what text, and what kinds of file came with it (``image``, ``audio``, ``file``)."""

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
    """A request, whichever wire it came on.

    Attributes:
        turns: The conversation, system messages included.
        tools: The tools that may be called; none if the request forbids calls.
        forced: Names of tools one of which must be called.
        schema: The JSON schema that the answer must satisfy, if any.
        json_object: Whether the answer must be some JSON object.
        stop: Sequences that end the answer; they are not part of it.
        max_tokens: The most tokens to answer with, if limited.
        reasoning: Whether the request asks the model to think first.
        logprobs: How many words it wants for each place, to see how likely they were; None if it does not ask.
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
    """The answer to one request, before it has a wire's shape.

    Attributes:
        number: Which answer of the server this is; ids are made from it.
        model: The model's name as the answer gives it.
        usage: What the answer reports as used.
        pieces: The text, cut as a stream serves it.
        calls: Tool calls.
        refusal: What the model says when it declines, cut as a stream serves it; None if it does not.
        finish: Why it ended; None if it just ended.
        beside: Why a second choice ended that says nothing; None for no such choice.
        candidates: 0 for an answer without any choice.
        blocked: Whether a filter stopped the prompt.
        logprobs: As the request's.
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
        """Whether each event of a stream is named, by its ``type``."""
        ...

    def read(self, body: Mapping[str, Any]) -> Prompt:
        """Read what the request asks for. Unknown fields are ignored."""
        ...

    def whole(self, utterance: Utterance, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body of an answer that is not streamed; ``body`` is the request's."""
        ...

    def events(self, utterance: Utterance, body: Mapping[str, Any]) -> Iterator[str]:
        """The data of each server-sent event; ``body`` is the request's."""
        ...

    def error(self, status: Status) -> tuple[dict[str, Any], dict[str, str]]:
        """Body and headers of an error."""
        ...

    def rejected_key(self, key: str | None) -> Status:
        """The real provider's answer to a key it does not know, or to none."""
        ...

    def models(self, names: tuple[str, ...]) -> dict[str, Any]:
        """The body of the list of models."""
        ...


def estimate_tokens(text: str) -> int:
    """A token for every four characters begun, and at least one."""
    return max(1, math.ceil(len(text) / _CHARACTERS_PER_TOKEN))


def tokens_to_characters(tokens: int) -> int:
    """The longest text that ``estimate_tokens`` finds to be no more than ``tokens``."""
    return tokens * _CHARACTERS_PER_TOKEN


def words(text: str) -> tuple[str, ...]:
    """The text in pieces, one a word with the space that follows it; joined, they are the text."""
    return tuple(re.findall(r"\s*\S+\s*", text)) or ((text,) if text else ())


def slices(text: str, count: int) -> tuple[str, ...]:
    """The text in at most ``count`` pieces of nearly equal length, none of them empty."""
    edges = [len(text) * index // count for index in range(count + 1)]
    return tuple(text[start:end] for start, end in pairwise(edges) if end > start)
