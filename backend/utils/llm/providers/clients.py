"""Chat clients, one for each endpoint. They hold no keys, so ten thousand users need as many as one.

Of the endpoints that users bring, there is one for all: it does not hold their addresses either.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from typing_extensions import override

from ..forks import PerProcess, unforked
from ..model_config import OWN, STAND_IN
from .gemini import Gemini
from .openai_compatible import OpenAICompatible

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from ..model_config import Endpoint
    from ..options import Api, ApiMode, Client
    from ..transport import SigningTransport
    from .ask import Adapter

MOST_CLIENTS = 256
"""Beyond this many endpoints the oldest is dropped. A client owns no connection: nothing is closed."""

ADAPTERS: dict[Api, Adapter] = {"openai": OpenAICompatible(), "gemini": Gemini()}


class _Kind(NamedTuple):
    """What a client is built from. A new table that says something else of an endpoint needs no new client."""

    api: Api
    client: Client
    base_url: str
    model_id: str
    api_mode: ApiMode

    @classmethod
    def of(cls, endpoint: Endpoint) -> _Kind:
        provider = endpoint.provider
        return cls(provider.api, provider.client, provider.base_url, endpoint.model_id, endpoint.api_mode)


class ChatClients(PerProcess):
    """Builds each endpoint's client once."""

    def __init__(self, transport: SigningTransport) -> None:
        self._transport = transport
        self._clients: OrderedDict[_Kind, BaseChatModel] = OrderedDict()
        super().__init__()

    @override
    def _begin(self) -> None:
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, endpoint: Endpoint) -> bool:
        return _Kind.of(_shared(endpoint)) in self._clients

    def client(self, endpoint: Endpoint) -> BaseChatModel:
        """The client of ``endpoint``. The first call imports the SDK and builds it."""
        shared = _shared(endpoint)
        client = self._clients.get(_Kind.of(shared))
        return client if client is not None else self._build(shared)

    @unforked()
    def _build(self, endpoint: Endpoint) -> BaseChatModel:
        kind = _Kind.of(endpoint)
        with self._lock:
            client = self._clients.get(kind)
            if client is None:
                client = ADAPTERS[endpoint.provider.api].build(endpoint, self._transport)
                self._clients[kind] = client
                if len(self._clients) > MOST_CLIENTS:
                    self._clients.popitem(last=False)
            return client


def _shared(endpoint: Endpoint) -> Endpoint:
    """The endpoint whose client serves ``endpoint``."""
    return STAND_IN if endpoint.provider.access == OWN else endpoint
