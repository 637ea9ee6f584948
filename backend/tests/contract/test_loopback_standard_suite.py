"""LangChain's own suite on bare SDK models against the loopback: the double speaks each wire well enough."""

from __future__ import annotations

import ssl
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import anthropic
import httpx2
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

from backend.utils.llm.testing import LoopbackProvider, Text, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Without the world's certificates, which take long to read and which nobody on loopback has."""
Details = dict[
    Literal["invoke", "stream"],
    list[
        Literal["audio_input", "audio_output", "reasoning_output", "cache_read_input", "cache_creation_input"]
    ],
]


@pytest.fixture(scope="module")
def provider() -> Iterator[LoopbackProvider]:
    with LoopbackProvider(accept_keys=["k"]) as running:
        yield running


class LoopbackSuite(ChatModelIntegrationTests):
    """What all wires have in common. Inputs that the suite downloads stay off: images, audio, PDFs."""

    provider: LoopbackProvider

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "another-model"

    @property
    def supported_usage_metadata_details(self) -> Details:
        return {
            "invoke": ["reasoning_output", "cache_read_input"],
            "stream": ["reasoning_output", "cache_read_input"],
        }

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self._ask(Usage(10, 20, reasoning_tokens=7), stream=stream)

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self._ask(Usage(10, 20, cached_tokens=5), stream=stream)

    def _ask(self, usage: Usage, *, stream: bool) -> AIMessage:
        model = self.chat_model_class(**self.chat_model_params)
        self.provider.script(Text("Thought over.", usage=usage))
        if not stream:
            return model.invoke("Hello")
        first, *rest = model.stream("Hello")
        return sum(rest, start=first)


@pytest.mark.filterwarnings(
    "ignore:Pydantic serializer warnings:UserWarning"
)  # the SDK's own `parsed`, dumped by LangChain
@pytest.mark.filterwarnings(
    "ignore:Received a Pydantic BaseModel V1 schema:UserWarning"
)  # one test's subject
class TestOpenAI(LoopbackSuite):
    @pytest.fixture(autouse=True)
    async def _clients(self, provider: LoopbackProvider) -> AsyncIterator[None]:
        """The SDK keeps one asynchronous client for all event loops; each test brings its own."""
        self.provider = provider
        async with httpx2.AsyncClient(verify=PLAIN) as self.asynchronous:
            with httpx2.Client(verify=PLAIN) as self.synchronous:
                yield

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return super().standard_chat_model_params | {"max_retries": 0}

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": "gpt-6-luna",
            "base_url": self.provider.openai_url,
            "api_key": "k",
            "stream_usage": True,
            "use_responses_api": False,
            "max_retries": 0,
            "http_client": self.synchronous,
            "http_async_client": self.asynchronous,
        }


class TestResponses(TestOpenAI):
    """The same SDK on the other API."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return super().chat_model_params | {"use_responses_api": True}


class TestGemini(LoopbackSuite):
    @pytest.fixture(autouse=True)
    def _provider(self, provider: LoopbackProvider) -> None:
        self.provider = provider

    @pytest.fixture
    async def model(self, request: pytest.FixtureRequest) -> AsyncIterator[BaseChatModel]:
        """The suite's own fixture, and closed on the loop that opened its connections."""
        params = (
            self.standard_chat_model_params | self.chat_model_params | (getattr(request, "param", None) or {})
        )
        model = ChatGoogleGenerativeAI(**params)
        yield model
        await model.aclose()

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatGoogleGenerativeAI

    @property
    def supports_model_override(self) -> bool:
        """`ChatGoogleGenerativeAI` 4.4 hands a `model` argument on to a configuration that forbids unknown fields."""
        return False

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": "gemini-2.5-flash",
            "base_url": self.provider.gemini_url,
            "google_api_key": "k",
            "max_retries": 1,
        }


class BareAnthropic(ChatAnthropic):
    """With connections of its own: those of the adapter are the process's, whatever loop opened them."""

    opened: ClassVar[list[anthropic.Client | anthropic.AsyncClient]] = []
    """The suite makes models besides its fixture's, and closes none."""

    @cached_property
    def _client(self) -> anthropic.Client:
        self.opened.append(client := anthropic.Client(**self._client_params))
        return client

    @cached_property
    def _async_client(self) -> anthropic.AsyncClient:
        self.opened.append(client := anthropic.AsyncClient(**self._client_params))
        return client


class TestAnthropic(LoopbackSuite):
    @pytest.fixture(autouse=True)
    async def _provider(self, provider: LoopbackProvider) -> AsyncIterator[None]:
        """Clients are closed on the loop that opened their connections."""
        self.provider = provider
        yield
        while BareAnthropic.opened:
            client = BareAnthropic.opened.pop()
            if isinstance(client, anthropic.AsyncClient):
                await client.close()
            else:
                client.close()

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return BareAnthropic

    @property
    def supports_json_mode(self) -> bool:
        """The API has no such mode."""
        return False

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": "claude-sonnet-4-6",
            "base_url": self.provider.anthropic_url,
            "api_key": "k",
            "max_retries": 0,
        }
