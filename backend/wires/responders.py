"""Finds the responder of a model: a feature, a group, or another registered source, such as agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from backend.utils.llm.nearest import find_similar_words

from .faults import UnknownModelError
from .features import FeatureResponder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from .answer import Answer, Event
    from .features import ChatModelRegistry
    from .request import CompletionRequest


class ListedModel(NamedTuple):
    """An entry of the list of models: a model name that requests may use, and its description."""

    name: str
    about: str = ""


class Responder(Protocol):
    """Answers the requests for one model name: a feature, a group or an agent. Its calls are the current caller's."""

    async def answer(self, request: CompletionRequest) -> Answer:
        """Answer ``request``, and return the complete answer.

        Raises:
            LLMError: The call failed.
            RequestFaultError: The request asks for something that is not supported.
        """
        ...

    def stream(self, request: CompletionRequest) -> AsyncGenerator[Event]:
        """Answer ``request`` as a stream of events. Closing the stream also ends the request to the provider.

        Raises:
            LLMError: The call failed, before or during the answer.
            RequestFaultError: The request asks for something that is not supported.
        """
        ...


class ResponderSource(Protocol):
    """Provides model names other than features and groups, such as agents, and answers requests for them."""

    def list_models(self) -> Iterable[ListedModel]:
        """List the models that the current caller may use."""
        ...

    def find_responder(self, name: str) -> Responder | None:
        """Find the responder for the model ``name``.

        None if this source does not have the model, or the current caller may not use it.
        """
        ...


class ResponderRegistry:
    """Finds the responder for a model name: among features and groups first, then in sources such as agents."""

    def __init__(self, models: ChatModelRegistry, sources: Sequence[ResponderSource] = ()) -> None:
        self._models = models
        self._sources = sources

    def list_models(self) -> list[ListedModel]:
        """List all features and groups as models, then the models of other sources that the current caller may use.

        The order is stable. Models are listed even if no endpoint can serve them now.
        """
        found = [ListedModel(name, about) for name, about in self._models.chat_models().items()]
        return [*found, *(model for source in self._sources for model in source.list_models())]

    def find_responder(self, name: str) -> Responder:
        """Find the responder that answers requests for the model ``name``.

        Raises:
            UnknownModelError: There is no such model.
        """
        if self._models.has_chat_model(name):
            return FeatureResponder(self._models, name)
        for source in self._sources:
            if (found := source.find_responder(name)) is not None:
                return found
        raise UnknownModelError(
            name, *find_similar_words(name, (model.name for model in self.list_models()), limit=1)
        )
