"""`ChatOpenAI` on our transport, which reads nothing from the environment. Imported only when a client is built.

As it comes, the class loses three things that a Chat Completions server says: a refusal in a stream, a choice beside
the first, and what went wrong behind a 200.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import httpx2
from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI
from openai import APIError, BaseModel
from pydantic import SecretStr
from typing_extensions import override

from .told import OTHERS_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages import BaseMessageChunk
    from langchain_core.outputs import ChatGenerationChunk, ChatResult

    from ..transport import SigningTransport

ChatT = TypeVar("ChatT", bound=ChatOpenAI)


class OpenAIChat(ChatOpenAI):
    """The adapter's class, with nothing lost."""

    use_responses_api: bool | None = False

    @override
    def _convert_chunk_to_generation_chunk(
        self,
        chunk: dict[str, Any],
        default_chunk_class: type[BaseMessageChunk],
        base_generation_info: dict[str, Any] | None,
    ) -> ChatGenerationChunk | None:
        choices = chunk.get("choices") or []
        first = [choice for choice in choices if not choice.get("index")]
        made = super()._convert_chunk_to_generation_chunk(
            {**chunk, "choices": first}, default_chunk_class, base_generation_info
        )
        if made is not None and isinstance(made.message, AIMessageChunk):
            for choice in first:
                _keep_refusal(made.message, choice.get("delta") or {})
            others = [choice.get("finish_reason") for choice in choices if choice.get("index")]
            if told := [reason for reason in others if reason]:
                made.message.response_metadata[OTHERS_KEY] = told
        return made

    @override
    def _create_chat_result(
        self, response: dict[str, Any] | BaseModel, generation_info: dict[str, Any] | None = None
    ) -> ChatResult:
        raise_for(response.get("error") if isinstance(response, dict) else getattr(response, "error", None))
        return super()._create_chat_result(response, generation_info)


def _keep_refusal(message: AIMessageChunk, delta: Mapping[str, Any]) -> None:
    if refusal := delta.get("refusal"):
        message.additional_kwargs["refusal"] = refusal


def raise_for(error: object) -> None:
    """Raise what stands under ``error`` in an answer, as the SDK does for one in a stream; nothing if nothing does.

    Raises:
        APIError: Its ``body`` is what stood there.
    """
    if not error:
        return
    told = error.model_dump(warnings=False) if isinstance(error, BaseModel) else error
    body = told if isinstance(told, dict) else {"message": str(told)}
    raise APIError(str(body.get("message")), httpx2.Request("POST", "https://provider.invalid"), body=body)


def openai_chat(kind: type[ChatT], model: str, base_url: str, key: str, transport: SigningTransport) -> ChatT:
    """A client of ``model``. Every setting that it would read from the environment is given, or taken back."""
    wire: Any = transport  # one object with the shape of all four kinds of transport, a subclass of none
    chat = kind(
        model=model,
        api_key=SecretStr(key),
        base_url=base_url,
        http_client=httpx2.Client(transport=wire, follow_redirects=False, trust_env=False),
        http_async_client=httpx2.AsyncClient(transport=wire, follow_redirects=False, trust_env=False),
        http_socket_options=(),
        max_retries=0,
        openai_proxy=None,
        output_version=None,
        stream_usage=True,
        stream_chunk_timeout=None,
    )
    for client in (chat.root_client, chat.root_async_client):
        client._custom_headers = {}  # noqa: SLF001 - OPENAI_CUSTOM_HEADERS: there is no setting to say none
    return chat
