"""OpenAI's Chat Completions, and every server that speaks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..options import request_kwargs
from ..transport import TICKET_HEADER

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from ..model_config import Endpoint
    from ..structured import Schema
    from ..transport import SigningTransport
    from .ask import Ask

PLACEHOLDER_KEY = "the-transport-signs"
"""The SDK wants a key at construction. This one opens nothing, and the transport takes it off."""


class OpenAICompatible:
    """Builds `ChatOpenAI` and words its requests."""

    def build(self, endpoint: Endpoint, transport: SigningTransport) -> BaseChatModel:
        """A `ChatOpenAI` on our transport. Every setting that it would read from the environment is given."""
        import httpx2
        from langchain_openai import ChatOpenAI

        wire: Any = transport  # one object with the shape of all four kinds of transport, a subclass of none
        return ChatOpenAI(
            model=endpoint.model_id,
            api_key=PLACEHOLDER_KEY,
            base_url=endpoint.provider.base_url,
            http_client=httpx2.Client(transport=wire, follow_redirects=False, trust_env=False),
            http_async_client=httpx2.AsyncClient(transport=wire, follow_redirects=False, trust_env=False),
            http_socket_options=(),
            max_retries=0,
            openai_proxy=None,
            output_version=None,
            stream_usage=True,
            stream_chunk_timeout=None,
            use_responses_api=False,
        )

    def kwargs(self, ask: Ask, endpoint: Endpoint, ticket: str) -> dict[str, Any]:
        """The keyword arguments of one request."""
        kwargs = dict(request_kwargs(ask.options, "openai", endpoint.can))
        body = dict(kwargs.pop("extra_body", ()))
        if ask.tools:
            kwargs["tools"] = list(ask.tools)
            kwargs |= _tool_choice(ask)
        if ask.schema is not None:
            # In the body, not as `response_format`: that would take the SDK's slow way of parsing the answer itself.
            body["response_format"] = _response_format(ask.schema)
        if ask.cache_key and endpoint.can.cache_key:
            body["prompt_cache_key"] = ask.cache_key
        if body:
            kwargs["extra_body"] = body
        return {**kwargs, "extra_headers": {TICKET_HEADER: ticket}}


def _tool_choice(ask: Ask) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if ask.tool_choice is not None:
        named = {"type": "function", "function": {"name": ask.tool_choice}}
        settings["tool_choice"] = (
            ask.tool_choice if ask.tool_choice in {"auto", "none", "required"} else named
        )
    if ask.parallel_tool_calls is not None:
        settings["parallel_tool_calls"] = ask.parallel_tool_calls
    return settings


def _response_format(schema: Schema) -> dict[str, Any]:
    if schema.json_schema is None:
        return {"type": "json_object"}
    strict = schema.strict_schema
    described = {"name": schema.name, "schema": strict or schema.json_schema}
    return {"type": "json_schema", "json_schema": {**described, "strict": True} if strict else described}
