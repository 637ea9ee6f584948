"""Rows that the tables of many tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backend.tests.fakes.strangers import Stranger

PROVIDERS = """
[providers.openai]
api = "openai"
api_key_env = "OPENAI_API_KEY"

[providers.gemini]
api = "gemini"
api_key_env = "GEMINI_API_KEY"
"""
"""Both of the house's providers."""
WIRES = {
    "openai": ("openai", "/v1"),
    "responses": ("openai", "/v1"),
    "gemini": ("gemini", ""),
    "anthropic": ("anthropic", ""),
}
"""Each way to talk to a provider: its ``api``, and the path of its base URL."""


def table_at(server: Stranger, wire: str, *, model: str = "m", row: str = "attempts = 1") -> str:
    """A table whose feature ``f`` is asked of ``server``, which plays the provider ``there``."""
    api, path = WIRES[wire]
    mode = f'[models."there:{model}"]\napi_mode = "responses"\n' if wire == "responses" else ""
    return f"""
        [providers.there]
        api = "{api}"
        base_url = "http://127.0.0.1:{server.port}{path}"
        api_key_env = "LOOPBACK_OPENAI_KEY"
        {mode}
        [profiles.premium]
        f = "there:{model}"
        [profiles.byok]
        extends = "premium"
        [features.f]
        {row}
        """
