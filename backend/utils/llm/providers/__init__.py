"""Serializes calls into requests of each API, and parses answers into messages. Adapters are imported when needed."""

from __future__ import annotations

from .ask import OTHERS_KEY, REASONING_KEY, THOUGHTS_KEY, Ask, ModelRequest
from .client_cache import ChatClientCache

__all__ = ["OTHERS_KEY", "REASONING_KEY", "THOUGHTS_KEY", "Ask", "ChatClientCache", "ModelRequest"]
