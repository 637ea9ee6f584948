"""Serializes calls into requests of each provider API, and parses the answers into LangChain messages.

The modules of an API, and the SDK that they may use, are imported when they are first needed.
"""

from __future__ import annotations

from .ask import OTHERS_KEY, REASONING_KEY, THOUGHTS_KEY, CallSettings, ModelRequest
from .client_cache import ChatClientCache

__all__ = ["OTHERS_KEY", "REASONING_KEY", "THOUGHTS_KEY", "CallSettings", "ChatClientCache", "ModelRequest"]
