"""The embeddings that product code holds, with the same table, keys, limits and attempts as a chat model."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from langchain_core.embeddings import Embeddings
from langchain_core.messages import HumanMessage
from typing_extensions import override

from .caller import CURRENT, HOUSE
from .chat_model import arun_call, plan_call, run_call
from .execution.call import CallInput
from .needs import estimate_text_tokens
from .options import NO_OPTIONS
from .providers import CallSettings
from .providers.ask import EmbeddingSettings
from .providers.embeddings import read_vectors
from .routing.route import Needs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Literal

    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatResult

    from .caller import Caller
    from .execution.call import Call
    from .execution.runtime import Runtime

MOST_TEXTS: Final = 64
"""The most texts of a request. Gemini takes 100, but we read 300,000 values of an answer, up to 4,096 a vector."""
MOST_TOKENS: Final = 60_000
"""The most tokens of a request, by our estimate: OpenAI takes 300,000, and many servers less."""
AT_ONCE: Final = 4
"""The most requests of one `FeatureEmbeddings.aembed_documents` that are in flight at once."""


class FeatureEmbeddings(Embeddings):
    """LangChain's `Embeddings` for a feature whose row says ``embedding``.

    Many texts are sent in several requests. Each request is a call of its own with retries, fallbacks and a
    receipt, which a `receipts` block collects. A fallback is the same model at another provider.

    Args:
        feature: The feature's name in the table.
        runtime: The table, the clients and the state that its calls use.
        caller: The caller of its calls; by default the caller of the context at each call.
        made_for: The caller for calls without ``caller`` in a context without one.
    """

    def __init__(self, feature: str, runtime: Runtime, caller: Caller | None, made_for: Caller) -> None:
        self.feature = feature
        self._runtime = runtime
        self._caller = caller
        self._made_for = made_for

    @override
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed ``texts``, documents to be searched, and return a vector for each, in their order.

        Raises:
            LLMError: A request failed, after its retries and fallbacks. Vectors of earlier requests are lost.
        """
        return [
            vector for part in _parts(texts) for vector in _vectors(run_call(self._call(part, "document")))
        ]

    @override
    def embed_query(self, text: str) -> list[float]:
        """Embed ``text``, a search query, and return its vector.

        Raises:
            LLMError: The request failed, after its retries and fallbacks.
        """
        (vector,) = _vectors(run_call(self._call([text], "query")))
        return vector

    @override
    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed ``texts`` as `embed_documents` does, with up to four requests in flight at a time."""
        places = asyncio.Semaphore(AT_ONCE)

        async def made(part: list[str]) -> list[list[float]]:
            async with places:
                return _vectors(await arun_call(self._call(part, "document")))

        tasks = [asyncio.ensure_future(made(part)) for part in _parts(texts)]
        try:
            return [vector for vectors in await asyncio.gather(*tasks) for vector in vectors]
        finally:
            for task in tasks:
                task.cancel()

    @override
    async def aembed_query(self, text: str) -> list[float]:
        """Embed ``text`` as `embed_query` does, without blocking the event loop."""
        (vector,) = _vectors(await arun_call(self._call([text], "query")))
        return vector

    def _call(self, texts: Sequence[str], kind: Literal["document", "query"]) -> Call:
        embedding = self._runtime.table.snapshot.features[self.feature].embedding
        if embedding is None:
            raise ValueError(format_no_embeddings_error(self.feature))
        ask = CallSettings(NO_OPTIONS, embedding=EmbeddingSettings(embedding.dimensions, kind))
        messages = [HumanMessage(text) for text in texts]
        question = CallInput(list(messages), messages, None, ask)
        needs = Needs(tokens=sum(map(estimate_text_tokens, texts)))
        return plan_call(self.feature, self._runtime, self._on_behalf_of(), question, needs)

    def _on_behalf_of(self) -> Caller:
        if self._caller is not None:
            return self._caller
        now = CURRENT.get()
        return self._made_for if now is HOUSE else now


def format_no_embeddings_error(feature: str) -> str:
    """Make the error text for a call of `get_embeddings` with ``feature``, which is a chat feature."""
    return f'{feature!r} is a feature of chat: its row has no embedding = {{ model = "…" }}'


def _parts(texts: Sequence[str]) -> Iterator[list[str]]:
    """``texts`` in parts that each fit into one request."""
    part: list[str] = []
    tokens = 0
    for text in texts:
        more = estimate_text_tokens(text)
        if part and (len(part) == MOST_TEXTS or tokens + more > MOST_TOKENS):
            yield part
            part, tokens = [], 0
        part.append(text)
        tokens += more
    if part:
        yield part


def _vectors(result: ChatResult) -> list[list[float]]:
    return read_vectors(cast("AIMessage", result.generations[0].message))
