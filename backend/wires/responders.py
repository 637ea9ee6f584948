"""Who answers for a model: a feature, a group, or whoever else is registered under a name, as agents are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from backend.utils.llm.nearest import nearest

from .faults import UnknownModelError
from .features import FeatureResponder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from .answer import Answer, Event
    from .features import Models
    from .request import CompletionRequest


class Model(NamedTuple):
    """A name that requests may have as their model, and in a few words what answers."""

    name: str
    about: str = ""


class Responder(Protocol):
    """Answers requests. The caller is the one in context."""

    async def answer(self, request: CompletionRequest) -> Answer:
        """The whole answer.

        Raises:
            LLMError: There is none.
            FaultError: The request asks for something that is not served.
        """
        ...

    def stream(self, request: CompletionRequest) -> AsyncGenerator[Event]:
        """The answer as it comes. Closing it ends the request to the provider.

        Raises:
            LLMError: There is none, or it broke off.
            FaultError: The request asks for something that is not served.
        """
        ...


class ResponderSource(Protocol):
    """Further models beside features and groups."""

    def models(self) -> Iterable[Model]:
        """Those that the caller in context may name."""
        ...

    def responder(self, name: str) -> Responder | None:
        """Who answers for ``name``; None if it is none of its own, or not for the caller in context."""
        ...


class Responders:
    """All models: features and groups of the table, and those of other sources."""

    def __init__(self, models: Models, sources: Sequence[ResponderSource] = ()) -> None:
        self._models = models
        self._sources = sources

    def models(self) -> list[Model]:
        """Every model, in a lasting order. Nothing is planned."""
        found = [Model(name, about) for name, about in self._models.chat_models().items()]
        return [*found, *(model for source in self._sources for model in source.models())]

    def responder(self, name: str) -> Responder:
        """Who answers for ``name``.

        Raises:
            UnknownModelError: Nobody does.
        """
        if self._models.has_chat_model(name):
            return FeatureResponder(self._models, name)
        for source in self._sources:
            if (found := source.responder(name)) is not None:
                return found
        raise UnknownModelError(name, *nearest(name, (model.name for model in self.models()), most=1))
