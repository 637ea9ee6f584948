"""Caches chat clients by API and model. They hold no key and no address, so all users share them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from typing_extensions import override

from ..forks import PerProcess, unforked
from ..model_config import OWN

if TYPE_CHECKING:
    from ..model_config import Endpoint
    from ..options import Api, ApiMode
    from ..transport import SigningTransport
    from .chat_api import ChatApi
    from .chat_client import ChatClient

MOST_CLIENTS = 256
"""The most cached clients; beyond, the oldest is dropped. A client owns no connection that would have to be closed."""
_ANY_MODEL = "model"
"""The model that requests to users' own endpoints are serialized for: one client serves them all."""


class ClientKey(NamedTuple):
    """The settings of an endpoint on which its client depends. A reload that changes only other settings keeps the client."""

    api: Api
    mode: ApiMode
    model_id: str

    @classmethod
    def of(cls, endpoint: Endpoint) -> ClientKey:
        """The key of the client for ``endpoint``."""
        provider = endpoint.provider
        model_id = _ANY_MODEL if provider.access == OWN else endpoint.model_id
        return cls(provider.api, endpoint.api_mode, model_id)

    def chat_api(self) -> ChatApi:
        """Make the serializer and reader of the API. May import a vendor's SDK, which takes a while."""
        if self.mode == "embeddings":
            from .embeddings import GeminiEmbeddingsApi, OpenAIEmbeddingsApi

            return GeminiEmbeddingsApi() if self.api == "gemini" else OpenAIEmbeddingsApi()
        if self.api == "gemini":
            from .gemini_api import Gemini

            return Gemini(self.model_id)
        if self.api == "anthropic":
            from .anthropic_api import Messages

            return Messages()
        if self.mode == "responses":
            from .responses_api import Responses

            return Responses(self.model_id)
        from .chat_completions import ChatCompletions

        return ChatCompletions(self.model_id)


class ChatClientCache(PerProcess):
    """Builds one chat client for each `ClientKey`, when it is first needed."""

    def __init__(self, transport: SigningTransport) -> None:
        self._transport = transport
        self._clients: OrderedDict[ClientKey, ChatClient] = OrderedDict()
        super().__init__()

    @override
    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._building: dict[ClientKey, Future[None]] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, endpoint: Endpoint) -> bool:
        return ClientKey.of(endpoint) in self._clients

    def client(self, endpoint: Endpoint, seconds: float | None = None) -> ChatClient:
        """The chat client for ``endpoint``, cached. The first call for an API imports its SDK and builds the client.

        Raises:
            TimeoutError: Building takes more than ``seconds``; it continues in the background for the next call.
        """
        kind = ClientKey.of(endpoint)
        if kind not in self._clients and seconds is not None:
            self._build_in_thread(kind).result(seconds)
        return self._clients.get(kind) or self._build(kind)

    def begin(self, endpoint: Endpoint) -> Future[None]:
        """Start to build the client of ``endpoint`` in a daemon thread, once for all calls that need it.

        An error is raised by `client`, as a new exception for each call, because a shared one would show a call's
        frames to others.
        """
        return self._build_in_thread(ClientKey.of(endpoint))

    def _build_in_thread(self, kind: ClientKey) -> Future[None]:
        begun = Future[None]()
        begun.set_running_or_notify_cancel()
        building = self._building.setdefault(kind, begun)
        if building is begun:
            threading.Thread(
                target=self._build_for_all, args=(kind, begun), name="patchbay client", daemon=True
            ).start()
        return building

    def _build_for_all(self, kind: ClientKey, begun: Future[None]) -> None:
        try:
            with suppress(Exception):
                self._build(kind)
        finally:
            del self._building[kind]
            begun.set_result(None)

    @unforked()
    def _build(self, kind: ClientKey) -> ChatClient:
        from .chat_client import ChatClient

        with self._lock:
            client = self._clients.get(kind)
            if client is None:
                client = self._clients[kind] = ChatClient(kind.chat_api(), self._transport)
                if len(self._clients) > MOST_CLIENTS:
                    self._clients.popitem(last=False)
            return client
