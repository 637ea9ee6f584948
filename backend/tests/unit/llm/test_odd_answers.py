"""What a sloppy server says oddly, in an answer or in an error, costs neither the answer nor the call its form."""

from __future__ import annotations

import contextlib
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from backend.utils.llm.errors import LLMError, ProviderDownError, RateLimitedError, StreamInterruptedError
from backend.utils.llm.testing import Json, Raw, Status, Text

from .drivers import ainvoke, invoke
from .interplay.conftest import ANN, ENDPOINTS, GEMINI, OPENAI
from .samples import Person

if TYPE_CHECKING:
    from backend.utils.llm.testing import LoopbackProvider, Reply
    from backend.utils.llm.testing.virtual_time import VirtualTime

    from .conftest import Make
    from .drivers import Driver


@pytest.fixture
def make(make: Make, virtual: VirtualTime) -> Make:
    """Patchbays in virtual time."""
    return partial(make, time=virtual.time)


def chat(**changes: Any) -> Raw:
    """An answer of Chat Completions, with changes."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "fine"}, "finish_reason": "stop"}
    whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return Raw(200, json.dumps({**whole, **changes}))


def gemini(**changes: Any) -> Raw:
    """An answer of Gemini, with changes."""
    candidate = {
        "content": {"role": "model", "parts": [{"text": "fine"}]},
        "finishReason": "STOP",
        "index": 0,
    }
    return Raw(200, json.dumps({"candidates": [candidate], "modelVersion": "m", **changes}))


def chunk(delta: dict[str, Any], finish: Any = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def events(*chunks: dict[str, Any]) -> Raw:
    """A stream of Chat Completions."""
    lines = [f"data: {json.dumps(one)}\n\n" for one in chunks]
    return Raw(200, "".join([*lines, "data: [DONE]\n\n"]), content_type="text/event-stream")


HELLO = chunk({"role": "assistant", "content": "fine"})


class TestOddAnswers:
    """What a sloppy server says beside its answer does not cost the answer, nor the call its form."""

    @pytest.mark.parametrize(
        "usage",
        [
            {"prompt_tokens": -1, "completion_tokens": 5, "total_tokens": 4},
            {"prompt_tokens": "12", "completion_tokens": 5, "total_tokens": 17},
        ],
        ids=["negative", "text"],
    )
    @pytest.mark.parametrize("call", [invoke, ainvoke])
    def test_odd_counts_of_tokens(
        self, make: Make, call: Driver, provider: LoopbackProvider, usage: dict[str, Any]
    ) -> None:
        provider.always(chat(usage=usage))

        assert call(make(OPENAI).get_llm("f"), "hi").text == "fine"
        assert len(provider.requests) == 1

    @pytest.mark.parametrize("call", [invoke, ainvoke])
    def test_odd_counts_of_geminis_tokens(self, make: Make, call: Driver, provider: LoopbackProvider) -> None:
        counts = {"promptTokenCount": -5, "candidatesTokenCount": 2, "totalTokenCount": 5}
        provider.always(gemini(usageMetadata=counts))

        assert call(make(GEMINI).get_llm("f"), "hi").text == "fine"
        assert len(provider.requests) == 1

    def test_an_odd_reason_to_finish(self, make: Make, provider: LoopbackProvider) -> None:
        choice = {"index": 0, "message": {"role": "assistant", "content": "fine"}, "finish_reason": {"a": 1}}
        provider.always(chat(choices=[choice]))

        with contextlib.suppress(LLMError):
            make(OPENAI).get_llm("f").invoke("hi")

    @pytest.mark.parametrize("reasons", [(True, "stop"), (7, "stop"), ({"a": 1}, "stop")])
    def test_odd_reasons_to_finish_in_a_stream(
        self, make: Make, stream: Driver, provider: LoopbackProvider, reasons: tuple[Any, Any]
    ) -> None:
        provider.always(events(HELLO, *[chunk({}, reason) for reason in reasons]))

        with contextlib.suppress(LLMError):
            stream(make(OPENAI).get_llm("f"), "hi")

    def test_a_finish_reason_that_is_sent_twice_is_one(
        self, make: Make, stream: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(events(HELLO, chunk({}, "stop"), chunk({}, "stop")))

        assert stream(make(OPENAI).get_llm("f"), "hi").response_metadata["finish_reason"] == "stop"

    def test_a_block_reason_that_is_sent_twice_is_one(
        self, make: Make, stream: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(events(HELLO, chunk({}, "content_filter"), chunk({}, "content_filter")))

        with pytest.raises(StreamInterruptedError) as caught:
            stream(make(OPENAI).get_llm("f"), "hi")

        assert caught.value.attempts[0].category == "refusal"

    def test_a_text_that_no_text_may_hold_is_mended(
        self, make: Make, chain: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        broken = "\ud800 canary-answer"
        candidate = {"content": {"role": "model", "parts": [{"text": broken}]}, "finishReason": "STOP"}
        choice = {"index": 0, "message": {"role": "assistant", "content": broken}, "finish_reason": "stop"}
        provider.script(
            gemini(candidates=[candidate]) if chain == "gemini_then_openai" else chat(choices=[choice])
        )
        provider.always(ANN)

        message = call(make(ENDPOINTS[chain]).get_llm("f").bind(response_format=Person), "hi")

        assert message.additional_kwargs["parsed"] == Person(name="Ann", age=30)

    def test_json_without_end_is_mended(self, make: Make, call: Driver, provider: LoopbackProvider) -> None:
        provider.script(Text("[" * 100_000), Json({"name": "Ann"}))
        schema = {"title": "person", "type": "object", "properties": {"name": {"type": "string"}}}

        message = call(make(OPENAI).get_llm("f").bind(response_format=schema), "hi")

        assert message.additional_kwargs["parsed"] == {"name": "Ann"}


def google_error(**detail: Any) -> str:
    error = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "", "details": [detail]}
    return json.dumps({"error": error})


ODD_ERRORS: dict[str, tuple[Reply, type[LLMError]]] = {
    "a date beyond time": (
        Status(429, retry_after="Sat, 21 Nov 99999999999999999999 12:00:00 GMT"),
        RateLimitedError,
    ),
    "a zone beyond time": (
        Status(429, retry_after="Sat, 21 Nov 2026 12:00:00 +99999999999999"),
        RateLimitedError,
    ),
    "JSON without end": (Raw(500, "[" * 60_000), ProviderDownError),
    "details of another kind": (Raw(429, google_error(violations=7)), RateLimitedError),
}


class TestOddErrors:
    """Whatever a provider says in an error, it has a category, and the next endpoint its turn."""

    @pytest.mark.parametrize(("odd", "error"), ODD_ERRORS.values(), ids=ODD_ERRORS)
    def test_it_is_an_error_of_ours(
        self,
        make: Make,
        feature: str,
        call: Driver,
        provider: LoopbackProvider,
        odd: Reply,
        error: type[LLMError],
    ) -> None:
        provider.always(odd)

        with pytest.raises(error) as caught:
            call(make(ENDPOINTS[feature]).get_llm("f"), "hi")

        assert len(caught.value.attempts) == len(provider.requests)

    @pytest.mark.parametrize("odd", [odd for odd, _ in ODD_ERRORS.values()], ids=ODD_ERRORS)
    def test_the_next_endpoint_is_asked(
        self, make: Make, chain: str, call: Driver, provider: LoopbackProvider, odd: Reply
    ) -> None:
        first, second = [OPENAI, GEMINI] if chain == "openai_then_gemini" else [GEMINI, OPENAI]
        provider.always(odd, model=first.partition(":")[2])
        provider.always(Text("from the second"))

        message = call(make([first, second]).get_llm("f"), "hi")

        assert message.text == "from the second"

    def test_a_hint_beyond_all_numbers_is_none(
        self, make: Make, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(Raw(429, google_error(retryDelay="9" * 400 + "s")))

        with pytest.raises(RateLimitedError) as caught:
            call(make(ENDPOINTS[feature]).get_llm("f"), "hi")

        assert json.dumps(caught.value.as_dict(), allow_nan=False)
