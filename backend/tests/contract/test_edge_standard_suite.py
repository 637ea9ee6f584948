"""LangChain's own suite on `ChatOpenAI` and `ChatAnthropic`, which ask this service over their vendors' wires; upstream is another vendor's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from backend.tests.contract import test_loopback_standard_suite as loopback
from backend.tests.fakes.edges import loopback_edge
from backend.utils.llm.testing import LoopbackProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.tests.fakes.edges import Edge

FEATURES = {"assistant": "gemini:gemini-3.5-flash", "another": "gemini:gemini-3.5-flash-lite"}


@pytest.fixture(scope="module")
def provider() -> Iterator[LoopbackProvider]:
    with LoopbackProvider() as running:
        yield running


@pytest.fixture(scope="module")
def edge(provider: LoopbackProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with loopback_edge(provider, tmp_path_factory.mktemp("edge"), FEATURES) as running:
        yield running


class _OverTheEdge:
    """The service that a suite asks."""

    @pytest.fixture(autouse=True)
    def _edge(self, edge: Edge, provider: LoopbackProvider) -> None:
        self.edge = edge
        provider.clear()

    @property
    def model_override_value(self) -> str:
        return "another"


class TestChat(_OverTheEdge, loopback.TestOpenAI):
    """Chat Completions."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return super().chat_model_params | {
            "model": "assistant",
            "base_url": self.edge.openai_url,
            "api_key": self.edge.token,
        }


class TestResponses(TestChat):
    """Responses."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return super().chat_model_params | {"use_responses_api": True}


class TestMessages(_OverTheEdge, loopback.TestAnthropic):
    """The Messages API, by `ChatAnthropic`."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return super().chat_model_params | {
            "model": "assistant",
            "max_tokens": 1000,
            "base_url": self.edge.anthropic_url,
            "api_key": self.edge.token,
        }
