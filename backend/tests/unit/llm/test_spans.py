"""What OpenTelemetry is told of a call: the same for every way to call, by its conventions, and nothing of what was said."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from typing_extensions import override

from backend.tests.fakes.telemetry import Telemetry, configured, told
from backend.utils.llm import Caller, carrying, get_llm
from backend.utils.llm.errors import LLMError
from backend.utils.llm.execution.spans import _provider, _who
from backend.utils.llm.ledger.sinks import MemorySink
from backend.utils.llm.model_config import make_own_endpoint, parse_table
from backend.utils.llm.testing import Hang, Status, Text, Usage

from .drivers import DRIVERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from backend.utils.llm import Patchbay
    from backend.utils.llm.testing import LoopbackProvider

    from .conftest import Make
    from .drivers import Driver

PROMPT, ANSWER = "the prompt, which is private", "the answer, which is private"
WORDS = {
    "over_openai": ("chat", "openai", "gpt-6-luna"),
    "over_gemini": ("generate_content", "gcp.gemini", "gemini-3.5-flash-lite"),
    "over_anthropic": ("chat", "anthropic", "claude-sonnet-5-5"),
}
DURATION, TOKENS = "gen_ai.client.operation.duration", "gen_ai.client.token.usage"
FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    with configured(Telemetry()) as made:
        yield made


def is_below(child: ReadableSpan, parent: ReadableSpan) -> bool:
    assert parent.context is not None
    return child.parent is not None and child.parent.span_id == parent.context.span_id


@pytest.mark.usefixtures("patchbay")
@pytest.mark.parametrize("feature", WORDS)
def test_a_call_is_a_span_and_its_attempt_is_one_below_it_however_it_is_called(
    provider: LoopbackProvider, telemetry: Telemetry, call: Driver, feature: str
) -> None:
    provider.script(Text(ANSWER, usage=Usage(100, 20, cached_tokens=60)))

    call(get_llm(feature), PROMPT)

    (attempt,) = telemetry.attempts
    operation, vendor, model = WORDS[feature]
    assert (telemetry.call.name, attempt.name) == (f"invoke_workflow {feature}", f"{operation} {model}")
    assert is_below(attempt, telemetry.call)
    assert telemetry.call.parent is None
    words = told(attempt)
    assert {name: words.get(name) for name in words if name.startswith("gen_ai.")} == {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": vendor,
        "gen_ai.request.model": model,
        "gen_ai.response.model": words["gen_ai.response.model"],
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 60,
        "gen_ai.usage.cache_write.input_tokens": 0,
        "gen_ai.usage.reasoning.output_tokens": 0,
        **({} if call in DRIVERS[:2] else streamed(words)),
    }
    assert (words["server.address"], words["patchbay.outcome"]) == ("127.0.0.1", "ok")
    assert attempt.status.status_code is telemetry.call.status.status_code is trace.StatusCode.UNSET


def streamed(words: dict[str, Any]) -> dict[str, Any]:
    first = words["gen_ai.response.time_to_first_chunk"]
    assert first >= 0
    return {"gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": first}


@pytest.mark.usefixtures("patchbay")
def test_nothing_of_what_was_said_and_no_key_and_no_user_is_in_a_span(
    provider: LoopbackProvider, telemetry: Telemetry, call: Driver, chain: str
) -> None:
    provider.script(Status(404, message=f"{PROMPT} {ANSWER}"), Text(ANSWER))
    caller = Caller(
        user_id="ann-of-vienna", keys={"openai": "sk-of-ann-0123456789", "gemini": "sk-of-ann-98765"}
    )

    call(get_llm(chain, caller=caller), PROMPT)

    assert len(telemetry.attempts) == 2
    for span in telemetry.spans:
        whole = f"{span.name} {told(span)} {span.status.description} {[event.attributes for event in span.events]}"
        assert not [word for word in ("private", "sk-of", "house-key", "ann-of") if word in whole]


@pytest.mark.usefixtures("patchbay")
def test_a_failover_is_two_attempts_of_one_call(
    provider: LoopbackProvider, telemetry: Telemetry, call: Driver, chain: str
) -> None:
    provider.script(Status(404), Text(ANSWER))

    call(get_llm(chain), PROMPT)

    first, second = telemetry.attempts
    assert is_below(first, telemetry.call)
    assert is_below(second, telemetry.call)
    assert first.status.status_code is trace.StatusCode.ERROR
    assert (told(first)["error.type"], told(first)["http.response.status_code"]) == ("model_not_found", 404)
    whole = told(telemetry.call)
    assert (whole["patchbay.attempts"], whole["patchbay.degraded"]) == (2, True)
    assert whole["patchbay.endpoint"] == told(second)["patchbay.endpoint"]


@pytest.mark.usefixtures("patchbay")
def test_a_call_that_fails_says_so_in_our_words(
    provider: LoopbackProvider, telemetry: Telemetry, call: Driver
) -> None:
    provider.script(Status(400, message=PROMPT))

    with pytest.raises(LLMError) as caught:
        call(get_llm("over_openai"), PROMPT)

    assert told(telemetry.call)["error.type"] == caught.value.code
    assert telemetry.call.status.status_code is trace.StatusCode.ERROR
    assert telemetry.call.status.description == str(caught.value)


def test_a_call_that_no_endpoint_may_serve_is_a_span_that_says_so(
    make: Make, telemetry: Telemetry, call: Driver
) -> None:
    patchbay = make("openai:gpt-6-luna", environ={"LOOPBACK_GEMINI_KEY": "house-key-of-gemini"})

    with pytest.raises(LLMError) as caught:
        call(patchbay.get_llm("f"), PROMPT)

    assert telemetry.attempts == []
    assert told(telemetry.call)["error.type"] == caught.value.code
    assert telemetry.call.status.description == str(caught.value)


@pytest.mark.usefixtures("patchbay")
def test_spans_name_the_call_as_its_receipt_does_and_the_request_as_its_provider_does(
    telemetry: Telemetry, call: Driver
) -> None:
    receipt = call(get_llm("over_openai"), PROMPT).response_metadata["receipt"]

    (attempt,) = telemetry.attempts
    assert told(telemetry.call)["patchbay.call_id"] == told(attempt)["patchbay.call_id"] == receipt["id"]
    assert told(attempt).get("patchbay.request_id") == receipt["attempts"][0]["request_id"]


@pytest.mark.usefixtures("patchbay")
def test_a_stream_that_is_left_is_no_failure(provider: LoopbackProvider, telemetry: Telemetry) -> None:
    provider.script(Text(ANSWER, chunks=5))
    chunks = get_llm("over_openai").stream(PROMPT)
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]

    for span in (telemetry.call, *telemetry.attempts):
        assert told(span)["error.type"] == "cancelled"
        assert span.status.status_code is trace.StatusCode.UNSET


@pytest.mark.usefixtures("patchbay")
async def test_a_call_that_is_cancelled_ends_its_spans(
    provider: LoopbackProvider, telemetry: Telemetry
) -> None:
    provider.script(Hang())
    task = asyncio.create_task(get_llm("over_openai").ainvoke(PROMPT))
    await asyncio.to_thread(provider.wait_until, lambda requests: len(requests) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert told(telemetry.call)["error.type"] == "cancelled"
    assert [told(attempt)["patchbay.outcome"] for attempt in telemetry.attempts] == ["cancelled"]


@pytest.mark.usefixtures("patchbay")
def test_a_call_is_below_the_span_of_who_calls_also_in_a_thread_of_theirs(
    telemetry: Telemetry, call: Driver
) -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        telemetry.tracers.get_tracer("app").start_as_current_span("request") as request,
    ):
        carrying(pool).submit(call, get_llm("over_openai"), PROMPT).result()

    assert is_below(telemetry.call, request)  # type: ignore[arg-type]


@pytest.mark.usefixtures("patchbay")
def test_a_whole_answers_test_is_below_the_call(telemetry: Telemetry, whole: Driver) -> None:
    current: list[int] = []

    def accept(_: Any) -> bool:
        current.append(trace.get_current_span().get_span_context().span_id)
        return True

    whole(get_llm("over_openai").bind(accept=accept), PROMPT)

    assert telemetry.call.context is not None
    assert current == [telemetry.call.context.span_id]


@pytest.mark.usefixtures("patchbay")
def test_who_reads_a_stream_keeps_their_own_span(telemetry: Telemetry) -> None:
    with telemetry.tracers.get_tracer("app").start_as_current_span("request") as request:
        seen = {trace.get_current_span() for _ in get_llm("over_openai").stream(PROMPT)}

    assert seen == {request}


def test_observers_are_told_within_the_span_of_the_attempt(
    make: Make, telemetry: Telemetry, call: Driver
) -> None:
    current: list[int] = []
    patchbay = make(
        "openai:gpt-6-luna",
        observer=lambda *_: current.append(trace.get_current_span().get_span_context().span_id),
    )

    call(patchbay.get_llm("f"), PROMPT)

    (attempt,) = telemetry.attempts
    assert attempt.context is not None
    assert current == [attempt.context.span_id]


def test_a_record_of_the_ledger_names_the_trace_of_its_attempt(
    make: Make, telemetry: Telemetry, call: Driver
) -> None:
    sink = MemorySink()

    call(make("openai:gpt-6-luna", ledger=sink).get_llm("f"), PROMPT)

    (attempt,), (record,) = telemetry.attempts, sink.records
    assert attempt.context is not None
    assert record.trace == f"{attempt.context.trace_id:032x}"
    assert attempt.start_time == record.at * 1000
    assert attempt.end_time == (record.at + record.duration) * 1000


@pytest.mark.usefixtures("patchbay")
def test_duration_tokens_and_first_chunks_are_measured(
    provider: LoopbackProvider, telemetry: Telemetry
) -> None:
    provider.script(*[Text(ANSWER, usage=Usage(100, 20))] * 2)
    for call in (DRIVERS[0], DRIVERS[2]):
        call(get_llm("over_openai"), PROMPT)

    (duration,) = telemetry.measured(DURATION)
    assert duration.count == 2
    assert duration.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-6-luna",
        "server.address": "127.0.0.1",
        "server.port": duration.attributes["server.port"],
        "patchbay.feature": "over_openai",
        "patchbay.key_owner": "house",
    }
    used = {point.attributes["gen_ai.token.type"]: point.sum for point in telemetry.measured(TOKENS)}
    assert used == {"input": 200, "output": 40}
    assert [point.count for point in telemetry.measured(FIRST_CHUNK)] == [1]


@pytest.mark.usefixtures("patchbay")
def test_tokens_that_only_we_reckon_are_none_of_the_providers(
    provider: LoopbackProvider, telemetry: Telemetry
) -> None:
    provider.script(Text(ANSWER, chunks=5))
    chunks = get_llm("over_openai").stream(PROMPT)
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]

    (attempt,) = telemetry.attempts
    assert told(attempt)["patchbay.estimated"]
    assert not [name for name in told(attempt) if name.startswith("gen_ai.usage")]
    assert telemetry.measured(TOKENS) == []


class Broken(SpanProcessor):
    """Fails when a span starts, or when it ends."""

    def __init__(self, event: str) -> None:
        self._event = event

    @override
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self._fail("start")

    @override
    def on_end(self, span: ReadableSpan) -> None:
        self._fail("end")

    def _fail(self, event: str) -> None:
        if event == self._event:
            raise RuntimeError("the exporter is out")


@pytest.mark.usefixtures("patchbay")
@pytest.mark.parametrize("event", ["start", "end"])
def test_telemetry_that_fails_changes_nothing(telemetry: Telemetry, call: Driver, event: str) -> None:
    telemetry.watched_by(Broken(event))

    answer = call(get_llm("over_openai"), PROMPT)

    assert answer.text
    assert answer.response_metadata["receipt"]["attempts"][0]["outcome"] == "ok"


def test_a_users_own_endpoint_is_not_told() -> None:
    words = _who(make_own_endpoint("https://of-ann.example/v1", "model-of-ann", ()))

    assert {name: value for name, value in words.items() if value is not None} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "own",
    }


@pytest.mark.parametrize(
    ("address", "name", "api"),
    [
        ("https://aiplatform.googleapis.com/v1/publishers/google", "gcp.vertex_ai", "gemini"),
        ("https://generativelanguage.googleapis.com", "gcp.gemini", "gemini"),
        ("https://api.openai.com/v1", "openai", "openai"),
        ("https://x.openai.azure.com/openai/v1", "azure.ai.openai", "openai"),
        ("https://api.groq.com/openai/v1", "groq", "openai"),
        ("https://api.mistral.ai/v1", "mistral_ai", "openai"),
        ("https://api.x.ai/v1", "x_ai", "openai"),
        ("https://gateway.example/v1", "there", "openai"),
    ],
)
def test_a_provider_is_called_as_the_conventions_do(address: str, name: str, api: str) -> None:
    table = f"""
        [providers.there]
        api = "{api}"
        base_url = "{address}"
        api_key_env = "K"

        [profiles.premium]
        f = "there:m"

        [profiles.byok]
        extends = "premium"
    """
    snapshot = parse_table(table, environ={"K": "house-key-of-there"})

    assert _provider(snapshot.chain("f", "premium").tiers[0].endpoints[0]) == name


@pytest.mark.usefixtures("patchbay")
def test_where_nobody_has_configured_it_nothing_of_it_is_imported(
    monkeypatch: pytest.MonkeyPatch, call: Driver
) -> None:
    spans = "backend.utils.llm.execution.spans"
    monkeypatch.delitem(sys.modules, spans, raising=False)

    call(get_llm("over_openai"), PROMPT)

    assert spans not in sys.modules


def test_an_attempt_that_ends_in_another_thread_is_below_its_call(
    patchbay: Patchbay, telemetry: Telemetry
) -> None:
    model = patchbay.get_llm("over_openai")
    call = model._call([], None, {})
    with call.span:
        step = call.next_try()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(ended, call, step).result()

    (attempt,) = telemetry.attempts
    assert is_below(attempt, telemetry.call)


def ended(call: Any, step: Any) -> None:
    from backend.tests.fakes.simulation import settle

    settle(call.dispatch, step)
