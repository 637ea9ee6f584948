"""Clouds that serve other vendors' models: which of their addresses can be a provider's, with fixes for the others.

Keys are read once, when the process starts, so that tokens which expire within the hour, Entra's or Google's, cannot be
used; both clouds take keys as well, at these addresses.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from ..options import Api

_AZURE: Final = re.compile(r".+\.(openai|services\.ai|cognitiveservices)\.azure\.com")
_AZURE_PATHS: Final[dict[Api, str]] = {"openai": "/openai/v1", "anthropic": "/anthropic"}
"""Of the API whose version is in its path: https://learn.microsoft.com/azure/foundry/openai/api-version-lifecycle, and
of Claude: https://platform.claude.com/docs/en/build-with-claude/claude-in-microsoft-foundry."""
_VERTEX: Final = re.compile(r"([a-z0-9-]+-)?aiplatform\.googleapis\.com")
_VERTEX_ADDRESS: Final = "https://aiplatform.googleapis.com/v1/publishers/google"
"""https://cloud.google.com/vertex-ai/generative-ai/docs/start/express-mode/vertex-ai-express-mode-api-reference."""
_TOKEN: Final = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*|ya29\..+")
"""Entra's tokens, and those of Google's OAuth."""

Fault = tuple[str, str]
"""What is wrong, and how to fix it, both as parts of an error message."""


def find_cloud_address_problem(api: Api, base_url: str) -> Fault | None:
    """Explain why a provider of ``api`` cannot work at ``base_url``, with a fix; None if no problem is known."""
    parts = urlsplit(base_url)
    host, path = parts.hostname or "", parts.path.rstrip("/").removesuffix("/chat/completions")
    if _AZURE.fullmatch(host):
        wanted = _AZURE_PATHS.get(api, "/openai/v1")
        if api not in _AZURE_PATHS or parts.query or path.removesuffix("/v1") != wanted.removesuffix("/v1"):
            return (
                "is no address of Azure's that does without an api-version",
                f"Write https://{host}{wanted}, and the name of a deployment in the place of a model's.",
            )
    if _VERTEX.fullmatch(host) and (api != "gemini" or "/publishers/google" not in path):
        return (
            "wants tokens of Google's OAuth there, which end within the hour",
            f'Write api = "gemini" and base_url = "{_VERTEX_ADDRESS}", with an API key.',
        )
    return None


def find_cloud_key_problem(host: str, key: str) -> Fault | None:
    """Explain why ``key`` would soon expire or be refused at ``host``, with a fix; None if no problem is known.

    The text does not quote the key.
    """
    if _TOKEN.fullmatch(key) and (_AZURE.fullmatch(host) or _VERTEX.fullmatch(host)):
        return (
            "holds a token that ends within the hour",
            "Put an API key there: it is read once, when the process starts.",
        )
    return None
