"""Chat clients, one for each endpoint. They hold no keys, so ten thousand users need as many as one.

Of the endpoints that users bring, there is one for all: it does not hold their addresses either.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from ..model_config import OWN, STAND_IN
from .gemini import Gemini
from .openai_compatible import OpenAICompatible

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from ..model_config import Endpoint
    from ..options import Api
    from ..transport import SigningTransport
    from .ask import Adapter

MOST_CLIENTS = 256
"""Beyond this many endpoints the oldest is dropped. A client owns no connection: nothing is closed."""

ADAPTERS: dict[Api, Adapter] = {"openai": OpenAICompatible(), "gemini": Gemini()}


class ChatClients:
    """Builds each endpoint's client once."""

    def __init__(self, transport: SigningTransport) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._clients: OrderedDict[Endpoint, BaseChatModel] = OrderedDict()

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, endpoint: Endpoint) -> bool:
        return _shared(endpoint) in self._clients

    def client(self, endpoint: Endpoint) -> BaseChatModel:
        """The client of ``endpoint``. The first call imports the SDK and builds it."""
        shared = _shared(endpoint)
        client = self._clients.get(shared)
        return client if client is not None else self._build(shared)

    def _build(self, endpoint: Endpoint) -> BaseChatModel:
        with self._lock:
            client = self._clients.get(endpoint)
            if client is None:
                client = ADAPTERS[endpoint.provider.api].build(endpoint, self._transport)
                self._clients[endpoint] = client
                if len(self._clients) > MOST_CLIENTS:
                    self._clients.popitem(last=False)
            return client


def _shared(endpoint: Endpoint) -> Endpoint:
    """The endpoint whose client serves ``endpoint``."""
    return STAND_IN if endpoint.provider.access == OWN else endpoint
