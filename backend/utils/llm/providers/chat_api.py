"""The interfaces that each provider API implements: a serializer of requests, and a reader of answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .answer import ParsedAnswer
    from .ask import ModelRequest, SerializedRequest


class AnswerReader(Protocol):
    """Parses one answer of an API, complete or event by event. Tolerates malformed fields."""

    def parse_answer(self, document: dict[str, Any]) -> ParsedAnswer:
        """Parse a complete answer that was not streamed.

        Args:
            document: The response's JSON.

        Raises:
            ProviderError: ``document`` is an error.
            BadAnswer: ``document`` is neither an answer nor an error.
        """
        ...

    def parse_event(self, document: dict[str, Any]) -> ParsedAnswer | None:
        """Parse one event of a streamed answer; None if the event adds nothing to the answer.

        Args:
            document: The event's JSON.

        Raises:
            ProviderError: ``document`` is an error.
        """
        ...

    @property
    def is_over(self) -> bool:
        """Whether the answer is complete, so that later events can be ignored."""
        ...


class ChatApi(Protocol):
    """One provider API: serializes requests, and makes the readers of answers. Holds no key and no address."""

    def serialize(self, request: ModelRequest, *, streams: bool) -> SerializedRequest:
        """Serialize ``request`` into path, JSON body and headers; ``streams`` asks for a streamed answer.

        Raises:
            InexpressibleRequestError: The API has no form for a part of ``request``.
        """
        ...

    def make_answer_reader(self, request: ModelRequest) -> AnswerReader:
        """Make a new reader for the answer to ``request``. Each answer needs its own reader."""
        ...
