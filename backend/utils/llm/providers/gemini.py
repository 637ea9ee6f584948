"""Google's Gemini API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..options import request_kwargs
from ..transport import TICKET_HEADER
from .openai_compatible import PLACEHOLDER_KEY

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from ..model_config import Endpoint
    from ..transport import SigningTransport
    from .ask import Ask


class Gemini:
    """Builds `ChatGoogleGenerativeAI` and words its requests."""

    def build(self, endpoint: Endpoint, transport: SigningTransport) -> BaseChatModel:
        """A `ChatGoogleGenerativeAI` on our transport, which reads nothing from the environment."""
        from .gemini_client import gemini_chat

        chat = gemini_chat(endpoint.model_id, endpoint.provider.base_url, PLACEHOLDER_KEY, transport)
        if endpoint.provider.client == "direct":
            chat.send_directly(transport)
        return chat

    def kwargs(self, ask: Ask, endpoint: Endpoint, ticket: str) -> dict[str, Any]:
        """The keyword arguments of one request."""
        kwargs = dict(request_kwargs(ask.options, "gemini", endpoint.can))
        if ask.tools:
            kwargs["tools"] = list(ask.tools)
            if ask.tool_choice is not None:
                kwargs["tool_choice"] = "any" if ask.tool_choice == "required" else ask.tool_choice
        if ask.schema is not None:
            kwargs["response_mime_type"] = "application/json"
            if ask.schema.json_schema is not None:
                kwargs["response_json_schema"] = ask.schema.json_schema
        return {**kwargs, "http_options": {"headers": {TICKET_HEADER: ticket}}}
