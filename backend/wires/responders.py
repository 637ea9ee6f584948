"""Finds the responder of a model: a feature, a group, or another registered source, such as agents."""

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
    """A model name that requests may use, with a short description."""

    name: str
    about: str = ""


class Responder(Protocol):
    """Answers requests for one model name: a feature, a group or an agent. Acts for the caller in the context variable."""

    async def answer(self, request: CompletionRequest) -> Answer:
        """The complete answer.

        Raises:
            LLMError: The call failed.
            FaultError: The request asks for something that is not served.
        """
        ...

    def stream(self, request: CompletionRequest) -> AsyncGenerator[Event]:
        """The answer as a stream of events. Closing it ends the request to the provider.

        Raises:
            LLMError: The call failed, before or during the answer.
            FaultError: The request asks for something that is not served.
        """
        ...


class ResponderSource(Protocol):
    """Offers further model names beside features and groups, such as agents."""

    def models(self) -> Iterable[Model]:
        """The models that the caller in context may use."""
        ...

    def responder(self, name: str) -> Responder | None:
        """The responder of the model ``name``; None if it is none of this source's, or not allowed to the caller in context."""
        ...


class Responders:
    """Finds what answers to a model name: the table's features and groups first, then further sources such as agents."""

    def __init__(self, models: Models, sources: Sequence[ResponderSource] = ()) -> None:
        self._models = models
        self._sources = sources

    def models(self) -> list[Model]:
        """All model names: features and groups, then what each further source offers to the caller in context.

        The order is stable. Whether a model can be served now is not checked.
        """
        found = [Model(name, about) for name, about in self._models.chat_models().items()]
        return [*found, *(model for source in self._sources for model in source.models())]

    def responder(self, name: str) -> Responder:
        """Find what answers requests for the model ``name``.

        Raises:
            UnknownModelError: There is no such model.
        """
        if self._models.has_chat_model(name):
            return FeatureResponder(self._models, name)
        for source in self._sources:
            if (found := source.responder(name)) is not None:
                return found
        raise UnknownModelError(name, *nearest(name, (model.name for model in self.models()), most=1))
