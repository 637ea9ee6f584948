"""The interface of an API: how its requests are worded, and how its answers are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .answer import Answer
    from .ask import ModelRequest, Serialized


class AnswerReader(Protocol):
    """Parses one answer of an API, whole or event by event, and tolerates any content."""

    def answer(self, document: dict[str, Any]) -> Answer:
        """Parse a whole answer.

        Raises:
            ProviderError: ``document`` is an error.
            BadAnswer: ``document`` is neither an answer nor an error.
        """
        ...

    def event(self, document: dict[str, Any]) -> Answer | None:
        """Parse one event of a stream; None if the event adds nothing to the answer.

        Raises:
            ProviderError: ``document`` is an error.
        """
        ...

    @property
    def is_over(self) -> bool:
        """Whether the answer is complete, so that later events can be ignored."""
        ...


class ChatApi(Protocol):
    """An API: serializes its requests and makes readers of its answers. It holds no key and no address."""

    def serialize(self, request: ModelRequest, *, streams: bool) -> Serialized:
        """Serialize ``request`` for the API.

        Raises:
            NotWordedError: The API has no form for a part of ``request``.
        """
        ...

    def reader(self, request: ModelRequest) -> AnswerReader:
        """A reader of the answer to ``request``."""
        ...
