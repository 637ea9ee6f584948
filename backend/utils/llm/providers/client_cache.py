"""Caches chat clients by API and model. A client holds no key and no address, so all users share it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from typing_extensions import override

from ..forks import ForkSafe, delay_forks
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


class ChatClientKey(NamedTuple):
    """The key of a chat client in `ChatClientCache`: endpoints with equal keys share a client.

    A reload of the table that changes only other settings keeps the client.
    """

    api: Api
    mode: ApiMode
    model_id: str

    @classmethod
    def from_endpoint(cls, endpoint: Endpoint) -> ChatClientKey:
        """Return the key of the client for ``endpoint``. Endpoints that users define share a key for each API."""
        provider = endpoint.provider
        model_id = _ANY_MODEL if provider.access == OWN else endpoint.model_id
        return cls(provider.api, endpoint.api_mode, model_id)

    def chat_api(self) -> ChatApi:
        """Create the `ChatApi` of this key. May import a vendor's SDK, which is slow."""
        if self.mode == "embeddings":
            from .embeddings import GeminiEmbeddingsApi, OpenAIEmbeddingsApi

            return GeminiEmbeddingsApi() if self.api == "gemini" else OpenAIEmbeddingsApi()
        if self.api == "gemini":
            from .gemini_api import GeminiApi

            return GeminiApi(self.model_id)
        if self.api == "anthropic":
            from .anthropic_api import AnthropicMessagesApi

            return AnthropicMessagesApi()
        if self.mode == "responses":
            from .responses_api import ResponsesApi

            return ResponsesApi(self.model_id)
        from .chat_completions import ChatCompletionsApi

        return ChatCompletionsApi(self.model_id)


class ChatClientCache(ForkSafe):
    """Caches chat clients, one for each `ChatClientKey`. A client is built on first use."""

    def __init__(self, transport: SigningTransport) -> None:
        self._transport = transport
        self._clients: OrderedDict[ChatClientKey, ChatClient] = OrderedDict()
        super().__init__()

    @override
    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._building: dict[ChatClientKey, Future[None]] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, endpoint: Endpoint) -> bool:
        return ChatClientKey.from_endpoint(endpoint) in self._clients

    def get_client(self, endpoint: Endpoint, timeout_seconds: float | None = None) -> ChatClient:
        """Return the chat client for ``endpoint``, and build it if it is not cached.

        The first client of an API is slow to build, because it may import an SDK.

        Args:
            endpoint: The endpoint.
            timeout_seconds: The maximum wait for a client that is not built yet; None to wait without a limit.

        Raises:
            TimeoutError: Building takes longer. It continues in the background, for the next call.
        """
        kind = ChatClientKey.from_endpoint(endpoint)
        if kind not in self._clients and timeout_seconds is not None:
            self._build_in_thread(kind).result(timeout_seconds)
        return self._clients.get(kind) or self._build(kind)

    def start_building_client(self, endpoint: Endpoint) -> Future[None]:
        """Start to build the client of ``endpoint`` in a daemon thread; calls for the same client share the thread.

        The future's result is None even if building fails: `get_client` then builds again and raises the error. An
        exception shared by several callers would show the stack frames of one to the others.
        """
        return self._build_in_thread(ChatClientKey.from_endpoint(endpoint))

    def _build_in_thread(self, kind: ChatClientKey) -> Future[None]:
        begun = Future[None]()
        begun.set_running_or_notify_cancel()
        building = self._building.setdefault(kind, begun)
        if building is begun:
            threading.Thread(
                target=self._build_for_all, args=(kind, begun), name="patchbay client", daemon=True
            ).start()
        return building

    def _build_for_all(self, kind: ChatClientKey, begun: Future[None]) -> None:
        try:
            with suppress(Exception):
                self._build(kind)
        finally:
            del self._building[kind]
            begun.set_result(None)

    @delay_forks()
    def _build(self, kind: ChatClientKey) -> ChatClient:
        from .chat_client import ChatClient

        with self._lock:
            client = self._clients.get(kind)
            if client is None:
                client = self._clients[kind] = ChatClient(kind.chat_api(), self._transport)
                if len(self._clients) > MOST_CLIENTS:
                    self._clients.popitem(last=False)
            return client
