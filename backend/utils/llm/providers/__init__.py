"""Endpoints become chat clients here, and asks become requests. The only importers of the SDKs, and only when needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .ask import Adapter, Ask
from .clients import ADAPTERS, ChatClients
from .told import OTHERS_KEY

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from ..model_config import Endpoint
    from ..transport import SigningTransport

__all__ = ["ADAPTERS", "OTHERS_KEY", "Adapter", "Ask", "ChatClients", "get_default_client"]


def get_default_client(endpoint: Endpoint, transport: SigningTransport) -> BaseChatModel:
    """A client of ``endpoint`` outside of any cache. It can only send what ``transport`` has a ticket for."""
    return ADAPTERS[endpoint.provider.api].build(endpoint, transport)
