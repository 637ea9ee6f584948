"""OpenAI's two APIs, and every server that speaks the first of them: Chat Completions, and Responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..model_config import OWN
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
    """Builds `ChatOpenAI` and words its requests, for the API that the endpoint is spoken to by."""

    def build(self, endpoint: Endpoint, transport: SigningTransport) -> BaseChatModel:
        """A `ChatOpenAI` on our transport."""
        from .openai_client import OpenAIChat, openai_chat
        from .responses_client import ResponsesChat

        kind = ResponsesChat if endpoint.api_mode == "responses" else OpenAIChat
        chat = openai_chat(kind, endpoint.model_id, endpoint.provider.told_url, PLACEHOLDER_KEY, transport)
        if endpoint.provider.access == OWN:
            chat.be_wary()
        if endpoint.provider.client == "direct":
            chat.send_directly(transport)
        return chat

    def kwargs(self, ask: Ask, endpoint: Endpoint, ticket: str) -> dict[str, Any]:
        """The keyword arguments of one request."""
        words = _responses if endpoint.api_mode == "responses" else _chat
        options = request_kwargs(ask.options, "openai", endpoint.can, endpoint.api_mode)
        body = dict(options.get("extra_body", ()))
        if endpoint.provider.access == OWN:  # its client is every other one's too, and was built for no model
            body["model"] = endpoint.model_id
        if ask.cache_key and endpoint.can.cache_key:
            body["prompt_cache_key"] = ask.cache_key
        kwargs = words(ask, {**options, "extra_body": body})
        if ask.tools and ask.parallel_tool_calls is not None:
            kwargs["parallel_tool_calls"] = ask.parallel_tool_calls
        return {**kwargs, "extra_headers": {TICKET_HEADER: ticket}}


# Chat Completions ----------------------------------------------------------------------------------------------------


def _chat(ask: Ask, options: dict[str, Any]) -> dict[str, Any]:
    kwargs = dict(options)
    if ask.tools:
        kwargs["tools"] = list(ask.tools)
        if ask.tool_choice is not None:
            kwargs["tool_choice"] = _choice(ask.tool_choice, {"function": {"name": ask.tool_choice}})
    if ask.schema is not None:
        # In the body, not as `response_format`: that would take the SDK's slow way of parsing the answer itself.
        kwargs["extra_body"]["response_format"] = _nested(_format(ask.schema))
    return kwargs


def _nested(described: dict[str, Any]) -> dict[str, Any]:
    kind = described.pop("type")
    return {"type": kind, kind: described} if described else {"type": kind}


# Responses -----------------------------------------------------------------------------------------------------------


def _responses(ask: Ask, options: dict[str, Any]) -> dict[str, Any]:
    kwargs = {
        **options,
        # Users trust us with their prompts: without this OpenAI keeps each for a month, for later retrieval.
        "store": False,
    }
    # In the body, because the adapter drops it for some models, whatever their effort is.
    _move("temperature", kwargs, kwargs["extra_body"])
    if kwargs.pop("logprobs", None):
        kwargs["include"] = ["message.output_text.logprobs"]
    if ask.tools:
        kwargs["tools"] = [_flat(tool) for tool in ask.tools]
        if ask.tool_choice is not None:
            kwargs["tool_choice"] = _choice(ask.tool_choice, {"name": ask.tool_choice})
    if ask.schema is not None:
        kwargs["text"] = {"format": _format(ask.schema)}
    return kwargs


def _move(name: str, source: dict[str, Any], target: dict[str, Any]) -> None:
    if name in source:
        target[name] = source.pop(name)


def _flat(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool as Responses wants it. What Chat Completions takes for granted, that it is not strict, has to be said."""
    return {"type": "function", "strict": False, **tool["function"]} if "function" in tool else tool


# Both ----------------------------------------------------------------------------------------------------------------


def _choice(choice: str, named: dict[str, Any]) -> str | dict[str, Any]:
    return choice if choice in {"auto", "none", "required"} else {"type": "function", **named}


def _format(schema: Schema) -> dict[str, Any]:
    if schema.json_schema is None:
        return {"type": "json_object"}
    strict = schema.strict_schema
    described = {"type": "json_schema", "name": schema.name, "schema": strict or schema.json_schema}
    return {**described, "strict": True} if strict else described
