"""LangChain's own standard suites, on a feature's model, over every wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from backend.utils.llm.chat_model import FeatureChatModel
from backend.utils.llm.testing import LoopbackProvider
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.utils.llm.patchbay import Patchbay

FEATURES = {
    "over_openai": "openai:gpt-4o",
    "over_responses": "openai:gpt-5.4",
    "over_gemini": "gemini:gemini-3.5-flash-lite",
    "over_anthropic": "anthropic:claude-sonnet-4-6",
}
RESPONSES = '[models."openai:gpt-5.4"]\napi_mode = "responses"'


class FeatureSuite:
    """What both suites need to know of a feature's model."""

    feature: str

    @pytest.fixture(autouse=True)
    def _on_a_loopback_provider(self) -> Iterator[None]:
        with LoopbackProvider() as provider:
            self.patchbay: Patchbay = loopback_patchbay(provider, FEATURES, RESPONSES)
            yield
            self.patchbay.close()

    @property
    def chat_model_class(self) -> type[FeatureChatModel]:
        return FeatureChatModel

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return {}

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"feature": self.feature, "runtime": self.patchbay.runtime}

    @property
    def has_tool_choice(self) -> bool:
        return True

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_image_inputs(self) -> bool:
        return False  # the suite fetches its picture from the network

    @property
    def returns_usage_metadata(self) -> bool:
        return True


class TestUnitOverOpenAI(FeatureSuite, ChatModelUnitTests):
    feature = "over_openai"


class TestUnitOverResponses(FeatureSuite, ChatModelUnitTests):
    feature = "over_responses"


class TestUnitOverGemini(FeatureSuite, ChatModelUnitTests):
    feature = "over_gemini"


class TestUnitOverAnthropic(FeatureSuite, ChatModelUnitTests):
    feature = "over_anthropic"


class TestIntegrationOverOpenAI(FeatureSuite, ChatModelIntegrationTests):
    feature = "over_openai"


class TestIntegrationOverResponses(FeatureSuite, ChatModelIntegrationTests):
    feature = "over_responses"


class TestIntegrationOverGemini(FeatureSuite, ChatModelIntegrationTests):
    feature = "over_gemini"


class TestIntegrationOverAnthropic(FeatureSuite, ChatModelIntegrationTests):
    feature = "over_anthropic"
