"""A feature's chat model: one behaviour, whichever API serves and however it is called."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from pydantic import BaseModel, Field

from backend.utils.llm.caller import Caller, use_caller
from backend.utils.llm.clients import get_llm
from backend.utils.llm.errors import (
    AllAttemptsFailedError,
    CallError,
    CallTimeoutError,
    ContextTooLongError,
    InvalidOutputError,
    LLMError,
    ModelUnavailableError,
    NoEndpointError,
    ProviderDownError,
    QuotaExceededError,
    RateLimitedError,
    RefusedError,
    RejectedCredentialError,
    RejectedRequestError,
    StreamInterruptedError,
    UnknownFeatureError,
)
from backend.utils.llm.testing import (
    CleanEnd,
    Cut,
    Empty,
    Hang,
    Html,
    Json,
    LoopbackProvider,
    Refusal,
    Reply,
    Status,
    Text,
    ToolCalls,
    Trickle,
    Usage,
    WrongJson,
)
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_patchbay

from .drivers import DRIVERS, STREAMS, joined

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.utils.llm.clients import Patchbay

    Driver = Callable[[Any, Any], AIMessage]

CANARY = "sk-canary-0d9e"
CANARY_PROMPT = "canary-prompt-77"


class Person(BaseModel):
    """Somebody."""

    name: str = Field(min_length=1, max_length=20)
    age: int


class Task(BaseModel):
    """Something to do."""

    owner: Person
    note: str | None = None


class Scores(BaseModel):
    """Points by name."""

    scores: dict[str, int]


class PersonDict(TypedDict):
    """Somebody."""

    name: str
    age: int


def add(first: int, second: int) -> int:
    """Add two numbers."""
    return first + second


@pytest.fixture(params=DRIVERS, ids=lambda driver: driver.__name__)
def call(request: pytest.FixtureRequest) -> Driver:
    """Each of the four ways to call."""
    return request.param


@pytest.fixture(params=STREAMS, ids=lambda driver: driver.__name__)
def stream(request: pytest.FixtureRequest) -> Driver:
    """Both ways to stream."""
    return request.param


def receipt(message: AIMessage) -> dict[str, Any]:
    found = message.response_metadata["receipt"]
    assert isinstance(found, dict)
    return found


@pytest.mark.usefixtures("patchbay")
class TestAnswers:
    """What comes back looks the same from every API."""

    def test_text_is_one_string(self, feature: str, call: Driver, provider: LoopbackProvider) -> None:
        provider.script(Text("Good morning."))

        message = call(get_llm(feature), "hi")

        assert message.content == message.text == "Good morning."

    def test_usage_is_counted(self, feature: str, call: Driver) -> None:
        message = call(get_llm(feature), "hi there")

        assert message.usage_metadata is not None
        assert message.usage_metadata["input_tokens"] > 0
        assert message.usage_metadata["output_tokens"] > 0

    @pytest.mark.parametrize(
        ("reply", "reason"),
        [
            (Text("done"), "stop"),
            (Text("cut sh", finish="length"), "length"),
            (ToolCalls((("add", {}),)), "tool_calls"),
        ],
    )
    def test_the_finish_reason_has_one_set_of_names(
        self, feature: str, call: Driver, provider: LoopbackProvider, reply: Reply, reason: str
    ) -> None:
        provider.script(reply)

        message = call(get_llm(feature).bind_tools([add]), "hi")

        assert message.response_metadata["finish_reason"] == reason

    def test_tool_calls_have_one_shape(self, feature: str, call: Driver, provider: LoopbackProvider) -> None:
        provider.script(ToolCalls((("add", {"first": 2, "second": 3}),)))

        message = call(get_llm(feature).bind_tools([add], tool_choice="any"), "2 and 3")

        assert [(one["name"], one["args"]) for one in message.tool_calls] == [
            ("add", {"first": 2, "second": 3})
        ]
        assert message.tool_calls[0]["id"]

    def test_the_receipt_is_json_and_says_who_served_and_who_paid(
        self, feature: str, call: Driver, patchbay: Patchbay
    ) -> None:
        found = receipt(call(get_llm(feature), "hi"))

        assert json.loads(json.dumps(found)) == found
        assert found["feature"] == feature
        assert found["endpoint"] == patchbay.get_provider(feature) + ":" + patchbay.get_model(feature)
        assert found["served_model"] == patchbay.get_model(feature) + "-2026-11-01"
        assert found["key_owner"] == "house"
        assert found["degraded"] is False
        assert found["table_hash"] == patchbay.table.snapshot.hash
        (attempt,) = found["attempts"]
        assert attempt["outcome"] == "ok"
        assert attempt["status"] == 200
        assert attempt["usage"]["output"] > 0
        assert 0 <= attempt["first_byte_ms"] <= attempt["duration_ms"]

    def test_a_known_models_answer_has_a_price(self, provider: LoopbackProvider) -> None:
        provider.script(Text("hi"))

        found = receipt(get_llm("over_gemini").invoke("hi"))

        assert float(found["cost_usd"]) > 0

    def test_an_unknown_models_price_is_unknown_not_zero(self, provider: LoopbackProvider) -> None:
        patchbay = loopback_patchbay(provider, {"f": "openai:a-model-nobody-knows"})

        assert receipt(patchbay.get_llm("f").invoke("hi"))["cost_usd"] is None
        patchbay.close()

    def test_batches_answer_each_in_its_place(self, feature: str, provider: LoopbackProvider) -> None:
        answers = get_llm(feature).batch([f"number {n}" for n in range(5)], config={"max_concurrency": 3})

        assert [f"number {n}" in answer.text for n, answer in enumerate(answers)] == [True] * 5
        assert len(provider.requests) == 5


@pytest.mark.usefixtures("patchbay")
class TestRequests:
    """What goes out."""

    OPTIONS = '[features.f]\noptions = { effort = "low", max_output_tokens = 77, seed = 5 }'

    @pytest.mark.parametrize("shape", ["plain", "structured", "tools"])
    def test_cache_key_and_options_survive_every_composition(
        self, provider: LoopbackProvider, call: Driver, shape: str
    ) -> None:
        patchbay = loopback_patchbay(provider, {"f": "openai:gpt-6-luna"}, self.OPTIONS)
        model = patchbay.get_llm("f", cache_key="prefix-1")

        if shape == "structured":
            model.with_structured_output(Person).invoke("Ann is 30")
        elif shape == "tools":
            call(model.bind_tools([add]), "hi")
        else:
            call(model, "hi")

        body = provider.requests[-1].body
        assert body["prompt_cache_key"] == "prefix-1"
        assert body["max_completion_tokens"] == 77
        assert body["reasoning_effort"] == "low"
        assert body["seed"] == 5
        patchbay.close()

    def test_the_same_over_gemini(self, provider: LoopbackProvider) -> None:
        patchbay = loopback_patchbay(provider, {"f": "gemini:gemini-3.5-flash-lite"}, self.OPTIONS)

        patchbay.get_llm("f", cache_key="prefix-1").with_structured_output(Person).invoke("Ann is 30")

        config = provider.requests[-1].body["generationConfig"]
        assert config["maxOutputTokens"] == 77
        assert config["seed"] == 5
        assert config["thinkingConfig"]["thinking_level"] == "LOW"
        assert config["responseMimeType"] == "application/json"
        patchbay.close()

    def test_an_option_of_the_call_wins_over_the_features(self, provider: LoopbackProvider) -> None:
        patchbay = loopback_patchbay(provider, {"f": "openai:gpt-6-luna"}, self.OPTIONS)

        patchbay.get_llm("f").invoke("hi", max_output_tokens=11)

        assert provider.requests[-1].body["max_completion_tokens"] == 11
        assert provider.requests[-1].body["seed"] == 5
        patchbay.close()

    def test_an_unknown_option_of_the_call_is_refused(self, feature: str, provider: LoopbackProvider) -> None:
        with pytest.raises(ValueError, match="tempurature"):
            get_llm(feature).invoke("hi", tempurature=0.2)

        assert provider.requests == ()

    def test_a_prefix_that_the_provider_wants_is_put_before_the_model(
        self, provider: LoopbackProvider
    ) -> None:
        patchbay = loopback_patchbay(provider, {"f": "openai:gpt-6-luna"}, "[groups]\n")
        text = patchbay.table._text or ""
        prefixed = text.replace('api = "openai"', 'api = "openai"\nmodel_prefixes = { gpt = "openai/" }')
        patchbay.close()

        from backend.utils.llm.clients import Patchbay
        from backend.utils.llm.model_config import Table

        with_prefix = Patchbay(Table(text=prefixed, environ=HOUSE_KEYS))
        with_prefix.get_llm("f").invoke("hi")

        assert provider.requests[-1].model == "openai/gpt-6-luna"
        with_prefix.close()

    def test_messages_keep_their_roles(self, feature: str, provider: LoopbackProvider) -> None:
        get_llm(feature).invoke(
            [SystemMessage("Be brief."), HumanMessage("One"), AIMessage("1"), HumanMessage("Two")]
        )

        said = json.dumps(provider.requests[-1].body)
        assert all(text in said for text in ("Be brief.", "One", "Two"))


@pytest.mark.usefixtures("patchbay")
class TestStructuredOutput:
    """A schema goes in, a validated object comes out."""

    def test_a_class_gives_an_object(self, feature: str, provider: LoopbackProvider) -> None:
        provider.script(Json({"name": "Ann", "age": 30}))

        assert get_llm(feature).with_structured_output(Person).invoke("hi") == Person(name="Ann", age=30)

    async def test_the_same_asynchronously(self, feature: str, provider: LoopbackProvider) -> None:
        provider.script(Json({"name": "Ann", "age": 30}))

        assert await get_llm(feature).with_structured_output(PersonDict).ainvoke("hi") == {
            "name": "Ann",
            "age": 30,
        }

    def test_a_stream_gives_the_object_once(self, feature: str, provider: LoopbackProvider) -> None:
        provider.script(Json({"name": "Ann", "age": 30}))

        assert list(get_llm(feature).with_structured_output(Person).stream("hi")) == [
            Person(name="Ann", age=30)
        ]

    def test_the_raw_message_keeps_the_receipt(self, feature: str, provider: LoopbackProvider) -> None:
        provider.script(Json({"name": "Ann", "age": 30}))

        found = get_llm(feature).with_structured_output(Person, include_raw=True).invoke("hi")

        assert found["parsed"] == Person(name="Ann", age=30)
        assert found["parsing_error"] is None
        assert receipt(found["raw"])["feature"] == feature

    @pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
    def test_every_method_gives_the_object(
        self, feature: str, provider: LoopbackProvider, method: Any
    ) -> None:
        provider.script(Json({"name": "Ann", "age": 30}))

        model = get_llm(feature).with_structured_output(Person, method=method)

        assert model.invoke("Answer in JSON.") == Person(name="Ann", age=30)

    def test_optional_and_nested_fields_survive_the_strict_dialect(
        self, provider: LoopbackProvider, feature: str
    ) -> None:
        provider.script(Json({"owner": {"name": "Ann", "age": 30}, "note": None}))

        assert get_llm(feature).with_structured_output(Task).invoke("hi") == Task(
            owner=Person(name="Ann", age=30)
        )

    def test_fences_around_the_json_are_forgiven(self, feature: str, provider: LoopbackProvider) -> None:
        provider.script(Text('```json\n{"name": "Ann", "age": 30}\n```'))

        assert get_llm(feature).with_structured_output(Person).invoke("hi").name == "Ann"

    @pytest.mark.parametrize("text", ["not json", '{"name": ""}', "[]", '{"name": "Ann", "age": "old"}'])
    def test_what_does_not_fit_is_a_failure_that_does_not_repeat_the_answer(
        self, feature: str, provider: LoopbackProvider, text: str
    ) -> None:
        provider.script(Text(f"{text} canary-answer"))

        with pytest.raises(InvalidOutputError) as caught:
            get_llm(feature).with_structured_output(Person).invoke("hi")

        assert "canary-answer" not in f"{caught.value} {caught.value.__cause__}"
        assert caught.value.attempts[0].usage is not None

    def test_with_raw_it_is_told_beside_the_raw_message(
        self, feature: str, provider: LoopbackProvider
    ) -> None:
        provider.script(Text("not json"))

        found = get_llm(feature).with_structured_output(Person, include_raw=True).invoke("hi")

        assert found["raw"].text == "not json"
        assert found["parsed"] is None
        assert isinstance(found["parsing_error"], InvalidOutputError)

    def test_an_answer_cut_at_the_limit_is_refused_even_if_it_would_fit(
        self, feature: str, provider: LoopbackProvider
    ) -> None:
        provider.script(Text('{"name": "Ann", "age": 3}', finish="length"))

        with pytest.raises(InvalidOutputError, match="ran out of tokens"):
            get_llm(feature).with_structured_output(Person).invoke("hi")

    def test_it_falls_to_the_next_endpoint(self, chain: str, provider: LoopbackProvider) -> None:
        provider.script(Text("not json"), Json({"name": "Ann", "age": 30}))

        assert get_llm(chain).with_structured_output(Person).invoke("hi").name == "Ann"
        assert len(provider.requests) == 2


FAULTS: list[tuple[Reply, type[LLMError], bool]] = [
    (Status(400), RejectedRequestError, False),
    (Status(401), RejectedCredentialError, True),
    (Status(403), RejectedCredentialError, True),
    (Status(404), ModelUnavailableError, True),
    (Status(429), RateLimitedError, True),
    (Status(500), ProviderDownError, True),
    (Status(503), ProviderDownError, True),
    (Status(529), ProviderDownError, True),
    (WrongJson(), ProviderDownError, True),
    (Html(), ProviderDownError, True),
    (Empty(), ProviderDownError, True),
    (Refusal("I will not.", by="filter"), RefusedError, False),
]
FAULT_IDS = [f"{fault[0]}"[:60] for fault in FAULTS]


@pytest.mark.usefixtures("patchbay")
class TestFailures:
    """Attempts recorded are requests sent, and the error says what happened."""

    @pytest.mark.parametrize(("fault", "error", "moves_on"), FAULTS, ids=FAULT_IDS)
    def test_one_endpoint_raises_the_specific_error_after_one_request(
        self,
        feature: str,
        call: Driver,
        provider: LoopbackProvider,
        fault: Reply,
        error: type[LLMError],
        moves_on: bool,  # noqa: FBT001 - a column of the table
    ) -> None:
        provider.always(fault)

        with pytest.raises(LLMError) as caught:
            call(get_llm(feature), CANARY_PROMPT)

        assert type(caught.value) is error, caught.value
        assert len(provider.requests) == len(caught.value.attempts) == 1
        assert caught.value.feature == feature
        assert CANARY_PROMPT not in str(caught.value)
        assert moves_on in {True, False}

    @pytest.mark.parametrize(("fault", "error", "moves_on"), FAULTS, ids=FAULT_IDS)
    def test_a_chain_moves_on_or_stops_as_the_category_says(
        self,
        chain: str,
        call: Driver,
        provider: LoopbackProvider,
        fault: Reply,
        error: type[LLMError],
        moves_on: bool,  # noqa: FBT001 - a column of the table
    ) -> None:
        provider.script(fault, Text("from the second"))

        if moves_on:
            message = call(get_llm(chain), "hi")
            assert message.text == "from the second"
            assert receipt(message)["degraded"] is True
            assert [attempt["outcome"] for attempt in receipt(message)["attempts"]] == ["failed", "ok"]
            assert len(provider.requests) == 2
        else:
            with pytest.raises(error):
                call(get_llm(chain), "hi")
            assert len(provider.requests) == 1

    def test_a_used_up_quota_is_not_a_rate_limit(self, call: Driver, provider: LoopbackProvider) -> None:
        provider.always(Status(429, error_code="insufficient_quota"))

        with pytest.raises(QuotaExceededError):
            call(get_llm("over_openai"), "hi")

    def test_a_refusal_in_the_models_own_words_is_a_refusal(
        self, chain: str, provider: LoopbackProvider
    ) -> None:
        provider.script(Refusal("I will not."))

        with pytest.raises(RefusedError):
            get_llm(chain).invoke("hi")

        assert len(provider.requests) == 1

    def test_when_all_fail_every_attempt_is_told(
        self, chain: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(Status(503), Status(500))

        with pytest.raises(AllAttemptsFailedError) as caught:
            call(get_llm(chain), "hi")

        assert [attempt.status for attempt in caught.value.attempts] == [503, 500]

    def test_a_dead_server_is_a_provider_that_is_down(self, feature: str, call: Driver) -> None:
        with LoopbackProvider() as gone:
            patchbay = loopback_patchbay(gone, {feature: FEATURE_ENDPOINT[feature]})

        with pytest.raises(ProviderDownError) as caught:
            call(patchbay.get_llm(feature), "hi")

        assert caught.value.attempts[0].category == "connect"
        patchbay.close()

    def test_a_users_401_never_moves_to_another_key(
        self, call: Driver, chain: str, provider: LoopbackProvider
    ) -> None:
        keys = {"openai": CANARY, "gemini": CANARY}

        for policy in ("byok_only", "byok_then_house"):
            provider.clear()
            provider.always(Status(401, message=f"Incorrect API key provided: {CANARY}"))
            with (
                pytest.raises(RejectedCredentialError) as caught,
                use_caller(Caller(keys=keys, key_policy=policy)),
            ):
                call(get_llm(chain), "hi")

            assert "that you brought" in str(caught.value)
            assert CANARY not in f"{caught.value} {caught.value.as_dict()}"
            assert [request.key for request in provider.requests] == [CANARY]

    def test_byok_then_house_says_who_paid(self, call: Driver, provider: LoopbackProvider) -> None:
        provider.script(Status(503))
        caller = Caller(keys={"gemini": CANARY}, key_policy="byok_then_house")

        with use_caller(caller):
            message = call(get_llm("over_gemini"), "hi")

        assert [attempt["key_owner"] for attempt in receipt(message)["attempts"]] == ["user", "house"]
        assert [request.key for request in provider.requests] == [CANARY, HOUSE_KEYS["LOOPBACK_GEMINI_KEY"]]

    def test_a_model_that_cannot_is_skipped_and_said_so(self, provider: LoopbackProvider) -> None:
        patchbay = loopback_patchbay(provider, {"f": "openai:smollm2-135m-instruct"})

        with pytest.raises(NoEndpointError, match="cannot call tools"):
            patchbay.get_llm("f").bind_tools([add]).invoke("hi")

        assert provider.requests == ()
        patchbay.close()

    def test_a_prompt_beyond_every_window_is_not_sent(self, provider: LoopbackProvider) -> None:
        patchbay = loopback_patchbay(provider, {"f": "openai:smollm2-135m-instruct"})

        with pytest.raises(NoEndpointError, match="exceed 4096"):
            patchbay.get_llm("f").invoke("word " * 10_000)

        assert provider.requests == ()
        patchbay.close()

    def test_an_overflow_moves_only_to_a_larger_window(self, provider: LoopbackProvider) -> None:
        overflow = Status(400, error_code="context_length_exceeded")
        chain = ["openai:gpt-4o", "openai:smollm2-135m-instruct", "openai:gpt-6-luna"]
        patchbay = loopback_patchbay(provider, {"f": chain})
        provider.script(overflow)

        message = patchbay.get_llm("f").invoke("hi")

        assert [request.model for request in provider.requests] == ["gpt-4o", "gpt-6-luna"]
        assert receipt(message)["endpoint"] == "openai:gpt-6-luna"
        patchbay.close()

    def test_an_overflow_of_the_largest_window_is_told(self, provider: LoopbackProvider) -> None:
        provider.script(Status(400, error_code="context_length_exceeded"))

        with pytest.raises(ContextTooLongError):
            get_llm("over_openai").invoke("hi")

    def test_an_unknown_feature_is_refused_where_it_is_named(self) -> None:
        with pytest.raises(UnknownFeatureError, match="over_openai"):
            get_llm("over_opnai")


FEATURE_ENDPOINT = {"over_openai": "openai:gpt-6-luna", "over_gemini": "gemini:gemini-3.5-flash-lite"}


@pytest.mark.usefixtures("patchbay")
class TestStreams:
    """Nothing is handed on before the first content; after it the call is committed."""

    def test_only_the_last_chunk_has_the_receipt(self, feature: str) -> None:
        chunks = list(get_llm(feature).stream("hi"))

        assert ["receipt" in chunk.response_metadata for chunk in chunks] == [False] * (len(chunks) - 1) + [
            True
        ]

    def test_text_comes_in_several_chunks(self, feature: str, provider: LoopbackProvider) -> None:
        provider.script(Text("one two three", chunks=3))

        texts = [chunk.text for chunk in get_llm(feature).stream("hi") if chunk.text]

        assert texts == ["one ", "two ", "three"]

    @pytest.mark.parametrize(
        "broken", [Cut(after_chunks=1, text="one two three"), CleanEnd(after_chunks=1, text="one two")]
    )
    def test_what_breaks_after_the_first_chunk_is_an_error_with_the_partial_text(
        self, chain: str, stream: Driver, provider: LoopbackProvider, broken: Reply
    ) -> None:
        provider.script(broken, Text("from the second"))

        with pytest.raises(StreamInterruptedError) as caught:
            stream(get_llm(chain), "hi")

        assert caught.value.partial.startswith("one")
        assert "second" not in caught.value.partial
        assert len(provider.requests) == 1

    @pytest.mark.parametrize(
        "broken", [Cut(after_chunks=0, text="one"), CleanEnd(after_chunks=0, text="one"), Status(503)]
    )
    def test_what_breaks_before_it_falls_over_unseen(
        self, chain: str, stream: Driver, provider: LoopbackProvider, broken: Reply
    ) -> None:
        provider.script(broken, Text("from the second"))

        assert stream(get_llm(chain), "hi").text == "from the second"

    async def test_a_reader_who_leaves_ends_the_request(
        self, feature: str, provider: LoopbackProvider, patchbay: Patchbay
    ) -> None:
        provider.script(Text("word " * 2000))

        chunks = get_llm(feature).astream("hi")
        await anext(chunks)
        await chunks.aclose()  # type: ignore[attr-defined]

        assert len(patchbay.bench.transport.desk) == 0
        assert len(provider.requests) == 1

    async def test_a_cancelled_call_sends_nothing_more(
        self, chain: str, provider: LoopbackProvider, patchbay: Patchbay
    ) -> None:
        provider.script(Hang())
        task = asyncio.create_task(get_llm(chain).ainvoke("hi"))
        await asyncio.to_thread(provider.wait_until, lambda requests: len(requests) == 1)

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert len(provider.requests) == 1
        assert len(patchbay.bench.transport.desk) == 0

    async def test_events_carry_the_tokens(self, feature: str) -> None:
        kinds = [event["event"] async for event in get_llm(feature).astream_events("hi", version="v2")]

        assert kinds[0] == "on_chat_model_start"
        assert "on_chat_model_stream" in kinds
        assert kinds[-1] == "on_chat_model_end"

    def test_streaming_models_stream_even_when_invoked(
        self, feature: str, provider: LoopbackProvider
    ) -> None:
        message = get_llm(feature, streaming=True).invoke("hi")

        assert provider.requests[-1].stream
        assert message.usage_metadata is not None
        assert receipt(message)["feature"] == feature


@pytest.mark.usefixtures("patchbay")
class TestFacade:
    """The functions of the door."""

    def test_a_hit_gives_the_same_model(self) -> None:
        assert get_llm("over_openai") is get_llm("over_openai")
        assert get_llm("over_openai") is not get_llm("over_openai", cache_key="k")

    def test_chains_of_langchain_go_on_working(self, feature: str) -> None:
        from langchain_core.output_parsers import StrOutputParser
        from langchain_core.prompts import ChatPromptTemplate

        prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{text}")])

        assert isinstance((prompt | get_llm(feature) | StrOutputParser()).invoke({"text": "hi"}), str)

    def test_qos_info_is_json_without_secrets(self, patchbay: Patchbay) -> None:
        told = patchbay.get_qos_info().model_dump_json()

        assert set(json.loads(told)["features"]) == {
            "over_openai",
            "over_gemini",
            "openai_then_gemini",
            "gemini_then_openai",
        }
        assert not any(key in told for key in HOUSE_KEYS.values())

    def test_no_object_shows_a_key(self, patchbay: Patchbay) -> None:
        with use_caller(Caller(keys={"openai": CANARY})):
            model = get_llm("over_openai")
            model.invoke("hi")
            shown = f"{model!r} {model} {patchbay.explain('over_openai')} {patchbay.table.snapshot!r}"

        assert CANARY not in shown
        assert not any(key in shown for key in HOUSE_KEYS.values())


def test_the_helper_joins_chunks() -> None:
    assert joined([AIMessage("x")]).text == "x"


def test_every_call_error_is_reachable() -> None:
    assert {error for _, error, _ in FAULTS} <= set(CallError.__subclasses__()) | {RejectedCredentialError}


@pytest.mark.usefixtures("patchbay")
class TestDeadline:
    """One deadline for the whole chain."""

    def test_a_call_does_not_outlive_its_deadline(self, call: Driver, provider: LoopbackProvider) -> None:
        chain = ["openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"]
        patchbay = loopback_patchbay(provider, {"f": chain}, "[features.f]\ndeadline = 0.3")
        provider.always(Hang())

        with pytest.raises(CallTimeoutError) as caught:
            call(patchbay.get_llm("f"), "hi")

        assert len(provider.requests) == len(caught.value.attempts) == 1
        patchbay.close()

    def test_a_body_that_trickles_is_cut(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        endpoint = FEATURE_ENDPOINT[feature]
        patchbay = loopback_patchbay(provider, {"f": endpoint}, "[features.f]\ndeadline = 0.4")
        provider.always(Trickle(Text("word " * 20, chunks=10), gap_seconds=0.3))

        with pytest.raises((CallTimeoutError, StreamInterruptedError)) as caught:
            call(patchbay.get_llm("f"), "hi")

        assert caught.value.attempts[0].category == "timeout"
        assert caught.value.attempts[0].duration < timedelta(seconds=2)
        patchbay.close()

    def test_an_attempt_that_runs_out_of_its_own_time_leaves_time_for_the_next(
        self, call: Driver, provider: LoopbackProvider
    ) -> None:
        chain = ["openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"]
        patchbay = loopback_patchbay(provider, {"f": chain}, "[features.f]\noptions = { timeout = 0.3 }")
        provider.script(Hang(), Text("from the second"))

        message = call(patchbay.get_llm("f"), "hi")

        assert message.text == "from the second"
        assert [attempt["category"] for attempt in receipt(message)["attempts"]] == ["timeout", None]
        patchbay.close()


@pytest.mark.usefixtures("patchbay")
class TestCallersOfStreams:
    """A stream is paid for by whoever asked for it, wherever it is read."""

    def test_read_where_there_is_no_caller(self, provider: LoopbackProvider) -> None:
        model = get_llm("over_openai")
        with use_caller(Caller(keys={"openai": CANARY})):
            chunks = model.stream("hi")

        list(chunks)

        assert [request.key for request in provider.requests] == [CANARY]

    async def test_read_by_another_caller(self, provider: LoopbackProvider) -> None:
        with use_caller(Caller(keys={"openai": "key-1"})):
            chunks = get_llm("over_openai").astream("hi")
        with use_caller(Caller(keys={"openai": "key-2"})):
            _ = [chunk async for chunk in chunks]

        assert [request.key for request in provider.requests] == ["key-1"]

    def test_bound_in_a_request_and_read_after_it(self, provider: LoopbackProvider) -> None:
        with use_caller(Caller(keys={"openai": CANARY})):
            chunks = get_llm("over_openai").bind_tools([add]).stream("hi")

        list(chunks)

        assert [request.key for request in provider.requests] == [CANARY]


@pytest.mark.usefixtures("patchbay")
class TestOddities:
    """What surprised us once."""

    def test_a_price_that_cannot_be_had_does_not_lose_the_answer(
        self, feature: str, provider: LoopbackProvider
    ) -> None:
        provider.script(Text("paid for", usage=Usage(input_tokens=30, output_tokens=5, cached_tokens=20)))

        assert get_llm(feature).invoke("hi").text == "paid for"

    def test_a_response_format_is_validated_in_streams_too(
        self, feature: str, provider: LoopbackProvider
    ) -> None:
        provider.script(Text('{"name": "An', finish="length"))

        with pytest.raises(InvalidOutputError):
            list(get_llm(feature).bind(response_format=Person).stream("hi"))

    def test_a_response_format_of_text_is_none(self, feature: str, provider: LoopbackProvider) -> None:
        provider.script(Text("plain"))

        assert get_llm(feature).bind(response_format={"type": "text"}).invoke("hi").text == "plain"

    def test_what_the_caller_was_handling_does_not_decide_the_category(
        self, feature: str, provider: LoopbackProvider
    ) -> None:
        provider.script(WrongJson())

        try:
            raise TimeoutError("somebody else's")  # noqa: TRY301 - the call is made while it is handled
        except TimeoutError:
            with pytest.raises(ProviderDownError):
                get_llm(feature).invoke("hi")

    def test_a_picture_by_its_address_is_never_fetched_from_here(self, provider: LoopbackProvider) -> None:
        picture = {"type": "image_url", "image_url": {"url": f"{provider.origin}/secret.png"}}

        with pytest.raises(NoEndpointError, match="only as data"):
            get_llm("over_gemini").invoke([HumanMessage([picture])])

        assert provider.requests == ()

    def test_an_exit_is_not_swallowed(self, patchbay: Patchbay) -> None:
        class Leaving:
            def client(self, _: object) -> None:
                raise SystemExit(3)

        patchbay.bench.clients = Leaving()  # type: ignore[assignment]

        with pytest.raises(SystemExit):
            get_llm("openai_then_gemini").invoke("hi")

        assert len(patchbay.bench.transport.desk) == 0

    def test_a_client_that_cannot_be_built_is_an_error_of_ours(self, patchbay: Patchbay) -> None:
        class Broken:
            def client(self, _: object) -> None:
                raise ImportError("no SDK")

        patchbay.bench.clients = Broken()  # type: ignore[assignment]

        with pytest.raises(CallError, match="a fault on our side"):
            get_llm("over_openai").invoke("hi")

        assert len(patchbay.bench.transport.desk) == 0

    def test_a_map_with_free_keys_is_not_forced_into_the_strict_dialect(
        self, provider: LoopbackProvider
    ) -> None:
        provider.script(Json({"scores": {"a": 1}}))

        assert get_llm("over_openai").with_structured_output(Scores).invoke("hi") == Scores(scores={"a": 1})
        assert "strict" not in provider.requests[0].body["response_format"]["json_schema"]
