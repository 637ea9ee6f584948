"""`ChatGoogleGenerativeAI` on a client that reads nothing from the environment, and that loses nothing of an answer.

As it comes, the class asks the SDK for a client without saying that it means the Gemini API. Then
``GOOGLE_GENAI_USE_VERTEXAI`` in the environment turns it into a Vertex client, which looks for the machine's own
Google account. So the client is made here, with every such choice spoken out.

It fetches what a message names by an address; see `gemini_history`.

And it drops how likely the tokens were, and in a stream the candidates beside the first. So the answers are handed to
its reader here. Imported only when a client is built.
"""

from __future__ import annotations

import json
import ssl
from contextlib import aclosing, closing
from math import ceil
from typing import TYPE_CHECKING, Any, Self, cast

import httpx
from google.genai import Client
from google.genai._api_client import BaseApiClient
from google.genai.types import GenerateContentResponse, HttpOptions, HttpResponse
from langchain_google_genai import ChatGoogleGenerativeAI
from pydantic import PrivateAttr, SecretStr, model_validator
from typing_extensions import override

from . import bounded, joining
from .direct import Direct
from .gemini_answers import StreamReader, result_of
from .gemini_history import request_of
from .gemini_names import make_known
from .gemini_words import body_of, error_of, path_of, response_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator

    from google.genai.types import GenerateContentConfig
    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import ChatGenerationChunk, ChatResult

    from ..transport import SigningTransport

STREAMING = "streamGenerateContent?alt=sse"
_TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For connections of the SDK's own, of which there are none. Left to itself it reads the system's certificates, twice for
each client: 25 ms.
"""


class _ApiClient(BaseApiClient):
    """The SDK's, whose answers say nothing that its types do not know."""

    @override
    def request(self, *args: Any, **kwargs: Any) -> HttpResponse:
        return _known(super().request(*args, **kwargs))

    @override
    async def async_request(self, *args: Any, **kwargs: Any) -> HttpResponse:
        return _known(await super().async_request(*args, **kwargs))

    @override
    def request_streamed(self, *args: Any, **kwargs: Any) -> Generator[HttpResponse]:
        with closing(super().request_streamed(*args, **kwargs)) as parts:
            yield from map(_known, parts)

    @override
    async def async_request_streamed(self, *args: Any, **kwargs: Any) -> AsyncGenerator[HttpResponse]:
        parts = await super().async_request_streamed(*args, **kwargs)
        return (_known(part) async for part in parts)


def _known(answer: HttpResponse) -> HttpResponse:
    told = json.loads(answer.body or "{}")
    make_known(told, GenerateContentResponse)
    answer.body = json.dumps(told)
    return answer


class _Client(Client):
    """The SDK's, on an `_ApiClient`."""

    @staticmethod
    @override
    def _get_api_client(*_: Any, debug_config: object = None, **given: Any) -> BaseApiClient:
        return _ApiClient(**given)


class GeminiChat(ChatGoogleGenerativeAI):
    """The adapter's class, on our transport."""

    _client_cleanup: Any = PrivateAttr(default=None)
    _direct: Direct | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    @override
    def validate_environment(self) -> Self:
        """Build the SDK's client. Shares the transport's connections, so there is nothing to clean up."""
        key = self.google_api_key
        transport = (self.client_args or {})["transport"]
        self.client = _Client(
            vertexai=False,
            api_key=key.get_secret_value() if isinstance(key, SecretStr) else None,
            http_options=HttpOptions(
                base_url=str(self.base_url),
                client_args={"verify": _TRUSTS_NOBODY},
                async_client_args={"verify": _TRUSTS_NOBODY, "ssl": _TRUSTS_NOBODY},
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

    @property
    def _models(self) -> Any:
        return cast("Client", self.client).models

    @override
    def _prepare_request(self, messages: list[BaseMessage], **kwargs: Any) -> dict[str, Any]:
        return request_of(self, messages, **kwargs)

    def send_directly(self, transport: SigningTransport) -> None:
        """From now on: past the SDK, on ``transport``."""
        headers = cast("Client", self.client)._api_client._http_options.headers or {}  # noqa: SLF001 - the SDK's own
        self._direct = Direct(transport, str(self.base_url), headers, error_of, bounded.read, joining.gemini)

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._prepare_request(messages, stop=stop, **kwargs)
        if self._direct is None:
            return result_of(self._models.generate_content(**request))
        return result_of(response_of(self._direct.ask(*_worded("generateContent", **request))))

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._prepare_request(messages, stop=stop, **kwargs)
        if self._direct is None:
            return result_of(await self.async_client.models.generate_content(**request))
        return result_of(response_of(await self._direct.aask(*_worded("generateContent", **request))))

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        request, reader = self._prepare_request(messages, stop=stop, **kwargs), StreamReader()
        if self._direct is None:
            parts = cast("Generator[Any]", self._models.generate_content_stream(**request))
            with closing(parts):
                yield from map(reader.read, parts)
            return
        with closing(self._direct.events(*_worded(STREAMING, **request))) as events:
            for event in events:
                yield reader.read(response_of(event))

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        request, reader = self._prepare_request(messages, stop=stop, **kwargs), StreamReader()
        if self._direct is None:
            stream = await self.async_client.models.generate_content_stream(**request)
            async with aclosing(cast("AsyncGenerator[Any]", stream)) as parts:
                async for part in parts:
                    yield reader.read(part)
            return
        async with aclosing(self._direct.aevents(*_worded(STREAMING, **request))) as events:
            async for event in events:
                yield reader.read(response_of(event))


def _worded(
    method: str, model: str, contents: list[Any], config: GenerateContentConfig
) -> tuple[str, dict[str, Any], dict[str, str]]:
    """The path, the body and the headers of a request."""
    options = config.http_options
    headers = dict(options.headers or {}) if options is not None else {}
    if options is not None and options.timeout is not None:
        headers["x-server-timeout"] = str(ceil(options.timeout / 1000))
    return path_of(model, method), body_of(contents, config), headers


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
