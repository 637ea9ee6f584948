"""How `ChatOpenAI` words a request, for both of OpenAI's APIs. Nothing is sent by it, and it reads no environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import openai
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..structured import Schema
    from .ask import ModelRequest

HEADERS = {
    "accept": "application/json",
    "content-type": "application/json",
    "user-agent": f"OpenAI/Python {openai.__version__}",
}
"""Of every request. What else the SDK would send tells of this machine."""
_NOWHERE = "https://not.sent.invalid/v1"


def openai_chat(model: str, *, use_responses_api: bool) -> ChatOpenAI:
    """The adapter for ``model``. Every setting that it would read from the environment is given, or taken back."""
    return ChatOpenAI(
        model=model,
        api_key=SecretStr("the-transport-signs"),
        base_url=_NOWHERE,
        # What these are given can only refuse.
        http_client=httpx2.Client(transport=httpx2.BaseTransport(), trust_env=False),
        http_async_client=httpx2.AsyncClient(transport=httpx2.AsyncBaseTransport(), trust_env=False),
        http_socket_options=(),
        max_retries=0,
        openai_proxy=None,
        output_version=None,
        stream_chunk_timeout=None,
        use_responses_api=use_responses_api,
    )


def payload_of(chat: ChatOpenAI, request: ModelRequest, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The body of ``request``. One adapter serves all endpoints that users bring, so it knows none of their models."""
    payload = chat._get_request_payload(list(request.messages), **settings)  # noqa: SLF001 - see decision 14
    extra = payload.pop("extra_body", None) or {}
    return {**payload, **extra, "model": request.endpoint.model_id}


def tool_choice_of(choice: str, named: Mapping[str, Any]) -> str | dict[str, Any]:
    """``choice`` in OpenAI's words; ``named`` if it is the name of a tool."""
    return choice if choice in {"auto", "none", "required"} else {"type": "function", **named}


def format_of(schema: Schema) -> dict[str, Any]:
    """The format that an answer should have."""
    if schema.json_schema is None:
        return {"type": "json_object"}
    strict = schema.strict_schema
    described = {"type": "json_schema", "name": schema.name, "schema": strict or schema.json_schema}
    return {**described, "strict": True} if strict else described
