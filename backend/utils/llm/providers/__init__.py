"""Asks become requests in an API's words, and what comes back becomes messages. Adapters are imported only when needed."""

from __future__ import annotations

from .ask import OTHERS_KEY, THOUGHTS_KEY, Ask, ModelRequest
from .client_cache import ChatClientCache

__all__ = ["OTHERS_KEY", "THOUGHTS_KEY", "Ask", "ChatClientCache", "ModelRequest"]
