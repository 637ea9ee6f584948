"""`ChatGoogleGenerativeAI` on a client that reads nothing from the environment.

As it comes, the class asks the SDK for a client without saying that it means the Gemini API. Then
``GOOGLE_GENAI_USE_VERTEXAI`` in the environment turns it into a Vertex client, which looks for the machine's own
Google account. So the client is made here, with every such choice spoken out. Imported only when a client is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import httpx
from google.genai import Client
from google.genai.types import HttpOptions
from langchain_google_genai import ChatGoogleGenerativeAI
from pydantic import PrivateAttr, SecretStr, model_validator
from typing_extensions import override

if TYPE_CHECKING:
    from ..transport import SigningTransport


class GeminiChat(ChatGoogleGenerativeAI):
    """The adapter's class, on our transport."""

    _client_cleanup: Any = PrivateAttr(default=None)

    @model_validator(mode="after")
    @override
    def validate_environment(self) -> Self:
        """Build the SDK's client. Shares the transport's connections, so there is nothing to clean up."""
        key = self.google_api_key
        transport = (self.client_args or {})["transport"]
        self.client = Client(
            vertexai=False,
            api_key=key.get_secret_value() if isinstance(key, SecretStr) else None,
            http_options=HttpOptions(
                base_url=str(self.base_url),
                httpx_client=httpx.Client(transport=transport, follow_redirects=False, trust_env=False),
                httpx_async_client=httpx.AsyncClient(
                    transport=transport, follow_redirects=False, trust_env=False
                ),
            ),
        )
        return self

    @property
    @override
    def async_client(self) -> Any:
        """The SDK's asynchronous side."""
        return self.client.aio if self.client is not None else None


def gemini_chat(model: str, base_url: str, placeholder: str, transport: SigningTransport) -> GeminiChat:
    """A client of ``model``. ``max_retries=1`` is one request: the SDK counts attempts."""
    return GeminiChat(
        model=model,
        google_api_key=SecretStr(placeholder),
        base_url=base_url,
        client_args={"transport": transport},
        max_retries=1,
        output_version=None,
        temperature=None,
        vertexai=False,
    )
