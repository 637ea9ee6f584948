"""Embeddings of a feature: the same table, keys, attempts and receipts, and always vectors of one model."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from backend.utils.llm import Caller, OwnEndpoint, Patchbay, Table, get_embeddings, get_llm, receipts, use
from backend.utils.llm.errors import AllAttemptsFailedError, ConfigError, LLMError, ProviderDownError
from backend.utils.llm.model_config import parse_table
from backend.utils.llm.testing import Json, LoopbackProvider, Raw, Status
from backend.utils.llm.testing.embedding_wires import make_vector_from_hash
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Embed = Callable[[Any, list[str]], list[list[float]]]

SMALL, BACKUP, GEMINI = (
    "openai:text-embedding-3-small",
    "backup:openai/text-embedding-3-small",
    "gemini:gemini-embedding-001",
)
FEATURES = {"memories": SMALL, "google": GEMINI, "chat": "openai:gpt-6-luna"}
ROWS = """
[features.memories]
embedding = { model = "text-embedding-3-small", dimensions = 4 }
[features.google]
embedding = { model = "gemini-embedding-001" }
house_fallback = true
"""


@pytest.fixture
def patchbay(provider: LoopbackProvider) -> Iterator[Patchbay]:
    made = loopback_patchbay(provider, FEATURES, ROWS, time=VirtualTime().time)
    with use(made):
        yield made
    made.close()


def synchronously(embeddings: Any, texts: list[str]) -> list[list[float]]:
    return list(embeddings.embed_documents(texts))


def asynchronously(embeddings: Any, texts: list[str]) -> list[list[float]]:
    return asyncio.run(embeddings.aembed_documents(texts))


embed = pytest.mark.parametrize("embed", [synchronously, asynchronously])


@embed
@pytest.mark.parametrize(("feature", "dimensions"), [("memories", 4), ("google", 8)])
@pytest.mark.usefixtures("patchbay")
class TestVectors:
    def test_each_text_has_its_own_in_its_place(self, embed: Embed, feature: str, dimensions: int) -> None:
        texts = ["one", "two", "", "ünï"]

        found = embed(get_embeddings(feature), texts)

        assert found == [make_vector_from_hash(text or " ", dimensions) for text in texts]

    def test_many_go_out_in_several_requests(
        self, embed: Embed, feature: str, dimensions: int, provider: LoopbackProvider
    ) -> None:
        texts = [f"text {number}" for number in range(250)]

        found = embed(get_embeddings(feature), texts)

        assert found == [make_vector_from_hash(text, dimensions) for text in texts]
        assert len(provider.requests) == 4

    def test_no_texts_need_no_request(
        self, embed: Embed, feature: str, dimensions: int, provider: LoopbackProvider
    ) -> None:
        assert embed(get_embeddings(feature), []) == []
        assert len(provider.requests) == 0

    def test_a_failure_that_passes_is_retried(
        self, embed: Embed, feature: str, dimensions: int, provider: LoopbackProvider
    ) -> None:
        provider.script(Status(503))

        assert embed(get_embeddings(feature), ["one"]) == [make_vector_from_hash("one", dimensions)]
        assert len(provider.requests) == 2

    def test_what_is_no_vector_for_each_text_is_no_answer(
        self, embed: Embed, feature: str, dimensions: int, provider: LoopbackProvider
    ) -> None:
        provider.always(Raw(200, "{}"))

        with pytest.raises(LLMError):
            embed(get_embeddings(feature), ["one"])


@pytest.mark.usefixtures("patchbay")
def test_a_query_is_told_apart_where_the_model_does(provider: LoopbackProvider) -> None:
    get_embeddings("google").embed_query("find")
    asyncio.run(get_embeddings("google").aembed_query("find"))
    get_embeddings("google").embed_documents(["kept"])

    tasks = [request.body["requests"][0]["taskType"] for request in provider.requests]
    assert tasks == ["RETRIEVAL_QUERY", "RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT"]


@pytest.mark.usefixtures("patchbay")
def test_receipts_tell_tokens_and_cost() -> None:
    with receipts() as seen:
        get_embeddings("memories").embed_documents(["four letters" * 10])

    (receipt,) = seen
    assert receipt["endpoint"] == SMALL
    assert receipt["attempts"][0]["usage"] is not None
    assert receipt["attempts"][0]["usage"]["input"] > 0
    assert receipt["attempts"][0]["usage"]["output"] == 0
    assert receipt["cost_usd"] is not None


def test_a_callers_key_pays(patchbay: Patchbay, provider: LoopbackProvider) -> None:
    caller = Caller(user_id="u", keys={"openai": "sk-user"})
    patchbay.get_embeddings("memories", caller=caller).embed_query("hi")

    assert provider.requests[0].headers["authorization"] == "Bearer sk-user"


@pytest.mark.usefixtures("patchbay")
def test_chat_and_embeddings_are_not_mixed_up() -> None:
    with pytest.raises(ValueError, match="use get_embeddings"):
        get_llm("memories")
    with pytest.raises(ValueError, match="feature of chat"):
        get_embeddings("chat")


WRONG = [
    [[1.0, 2.0], [1.0]],
    [[1.0] * 4],
    [[1.0] * 4] * 3,
    [["a"] * 4, [1.0] * 4],
    [[float("inf")] * 4, [1.0] * 4],
    [None, [1.0] * 4],
    [[], []],
    [[1.0] * 3, [1.0] * 3],
    [[True] * 4, [1.0] * 4],
]


@pytest.mark.usefixtures("patchbay")
@pytest.mark.parametrize("vectors", WRONG, ids=range(len(WRONG)))
def test_vectors_that_do_not_fit_are_not_handed_on(vectors: list[Any], provider: LoopbackProvider) -> None:
    data = [{"index": place, "embedding": one} for place, one in enumerate(vectors)]
    provider.always(Raw(200, json.dumps({"data": data})))

    with pytest.raises((ProviderDownError, AllAttemptsFailedError)):
        get_embeddings("memories").embed_documents(["one", "two"])


@pytest.mark.usefixtures("patchbay")
def test_an_answer_in_another_order_is_put_in_order(provider: LoopbackProvider) -> None:
    data = [{"index": 1, "embedding": [2, 2, 2, 2]}, {"index": 0, "embedding": [1, 1, 1, 1]}]
    provider.script(Raw(200, json.dumps({"data": data})))

    assert get_embeddings("memories").embed_documents(["one", "two"]) == [[1.0] * 4, [2.0] * 4]


class TestTheTable:
    PROVIDERS = """
profile = "p"
[providers.openai]
api = "openai"
api_key_env = "OPENAI_API_KEY"
[providers.backup]
api = "openai"
base_url = "https://openrouter.ai/api/v1"
api_key_env = "BACKUP_KEY"
[providers.claude]
api = "anthropic"
api_key_env = "CLAUDE_KEY"
[features.f]
embedding = { model = "text-embedding-3-small" }
"""

    def problems(self, rows: str, environ: dict[str, str] | None = None) -> str:
        with pytest.raises(ConfigError) as caught:
            parse_table(self.PROVIDERS + rows, environ=environ or {})
        return str(caught.value)

    def test_the_same_model_elsewhere_may_stand_behind(self) -> None:
        table = parse_table(f'{self.PROVIDERS}[profiles.p]\nf = ["{SMALL}", "{BACKUP}"]', environ={})

        assert [str(endpoint) for endpoint in table.chain("f", "p")] == [SMALL, BACKUP]

    def test_another_model_may_not(self) -> None:
        said = self.problems(f'[profiles.p]\nf = ["{SMALL}", "openai:text-embedding-3-large"]')

        assert "profiles.p.f = 'openai:text-embedding-3-large'" in said
        assert "vectors of two models cannot be compared" in said

    def test_nor_by_the_environment(self) -> None:
        environ = {"LLM_FEATURE_F": "openai:text-embedding-3-large"}

        assert "LLM_FEATURE_F" in self.problems(f'[profiles.p]\nf = "{SMALL}"', environ)

    def test_nor_a_provider_without_embeddings(self) -> None:
        assert "has no embeddings" in self.problems('[profiles.p]\nf = "claude:text-embedding-3-small"')

    def test_options_of_a_chat_do_not_go_with_it(self) -> None:
        rows = f'options = {{ temperature = 0.5, timeout = 5 }}\n[profiles.p]\nf = "{SMALL}"'

        assert "features.f.options.temperature = 0.5" in self.problems(rows)

    def test_nor_trials(self) -> None:
        rows = f'shadow = {{ "{BACKUP}" = 10 }}\n[profiles.p]\nf = "{SMALL}"'

        assert "features.f.shadow (text): does not go with embeddings" in self.problems(rows)


def test_a_rejected_request_says_so(patchbay: Patchbay, provider: LoopbackProvider) -> None:
    provider.always(Json({"a": 1}))

    with pytest.raises(LLMError):
        patchbay.get_embeddings("google", caller=Caller(keys={"nobody": "sk-user"})).embed_query("hi")
    assert len(provider.requests) == 0


def test_a_callers_own_endpoint_gives_none(patchbay: Patchbay, provider: LoopbackProvider) -> None:
    own = OwnEndpoint(base_url="https://llm.example/v1", model="m", key="sk-user")
    with pytest.raises(LLMError, match="keeps vectors of text-embedding-3-small only"):
        patchbay.get_embeddings("memories", caller=Caller(own_endpoint=own)).embed_query("hi")
    assert len(provider.requests) == 0


def test_the_demo_model_gives_none() -> None:
    text = f"""
profile = "p"
demo = "local:demo"
[providers.local]
api = "openai"
[providers.openai]
api = "openai"
api_key_env = "OPENAI_API_KEY"
[profiles.p]
f = "{SMALL}"
[features.f]
embedding = {{ model = "text-embedding-3-small" }}
"""
    patchbay = Patchbay(Table(text=text, environ={}))

    with pytest.raises(LLMError, match="OPENAI_API_KEY"):
        patchbay.get_embeddings("f").embed_query("hi")
