"""A feature's chat model: one behaviour, whichever API serves and however it is called."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, trim_messages

from backend.utils.llm.caller import Caller, use_caller
from backend.utils.llm.clients import get_llm
from backend.utils.llm.errors import CallError, InvalidOutputError, NoEndpointError, ProviderDownError
from backend.utils.llm.testing import Json, LoopbackProvider, Reply, Text, ToolCalls, Usage, WrongJson
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_patchbay

from .drivers import joined
from .samples import CANARY, Person, PersonDict, QualityScores, Task, add, receipt

if TYPE_CHECKING:
    from backend.utils.llm.patchbay import Patchbay

    from .drivers import Driver


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

    def test_another_model_than_the_one_asked_for_is_noticed(
        self, call: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        with LoopbackProvider(served_suffix="-something-else") as other:
            patchbay = loopback_patchbay(other, {"f": "openai:gpt-6-luna"})
            found = receipt(call(patchbay.get_llm("f"), "hi"))
            patchbay.close()

        assert found["attempts"][0]["substituted"] is True
        assert "openai:gpt-6-luna was served as gpt-6-luna-something-else" in caplog.text

    def test_a_dated_version_of_it_is_the_model_asked_for(self, feature: str, call: Driver) -> None:
        assert receipt(call(get_llm(feature), "hi"))["attempts"][0]["substituted"] is False

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
        assert config["thinkingConfig"]["thinkingLevel"] == "LOW"
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

        from backend.utils.llm.model_config import Table
        from backend.utils.llm.patchbay import Patchbay

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
        provider.always(Text(f"{text} canary-answer"))

        with pytest.raises(InvalidOutputError) as caught:
            get_llm(feature).with_structured_output(Person).invoke("hi")

        assert "canary-answer" not in f"{caught.value} {caught.value.__cause__}"
        assert caught.value.attempts[0].usage is not None

    def test_with_raw_the_error_is_returned_beside_the_raw_message(
        self, feature: str, provider: LoopbackProvider
    ) -> None:
        provider.always(Text("not json"))

        found = get_llm(feature).with_structured_output(Person, include_raw=True).invoke("hi")

        assert found["raw"].text == "not json"
        assert found["parsed"] is None
        assert isinstance(found["parsing_error"], InvalidOutputError)

    def test_an_answer_cut_at_the_limit_is_refused_even_if_it_would_fit(
        self, feature: str, provider: LoopbackProvider
    ) -> None:
        provider.always(Text('{"name": "Ann", "age": 3}', finish="length"))

        with pytest.raises(InvalidOutputError, match="ran out of tokens"):
            get_llm(feature).with_structured_output(Person).invoke("hi")

    def test_it_falls_to_the_next_endpoint(self, chain: str, provider: LoopbackProvider) -> None:
        provider.script(*[Text("not json")] * 2, Json({"name": "Ann", "age": 30}))

        assert get_llm(chain).with_structured_output(Person).invoke("hi").name == "Ann"
        assert len({request.model for request in provider.requests}) == 2


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
            "over_anthropic",
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

    def test_a_cache_that_is_asked_for_knows_a_call_without_its_key(self, patchbay: Patchbay) -> None:
        cache = InMemoryCache()
        model = patchbay.get_llm("over_openai", caller=Caller(keys={"openai": CANARY}))

        model.model_copy(update={"cache": cache}).invoke("hi")

        assert len(cache._cache) == 1
        assert CANARY not in repr(cache._cache)


def test_the_helper_joins_chunks() -> None:
    assert joined([AIMessage("x")]).text == "x"


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
        provider.always(Text('{"name": "An', finish="length"))

        with pytest.raises(InvalidOutputError):
            list(get_llm(feature).bind(response_format=Person).stream("hi"))

    def test_a_response_format_of_text_is_none(self, feature: str, provider: LoopbackProvider) -> None:
        provider.script(Text("plain"))

        assert get_llm(feature).bind(response_format={"type": "text"}).invoke("hi").text == "plain"

    def test_what_the_caller_was_handling_does_not_decide_the_category(
        self, feature: str, provider: LoopbackProvider
    ) -> None:
        provider.always(WrongJson())

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
            def get_client(self, *_: object) -> None:
                raise SystemExit(3)

        patchbay.runtime.clients = Leaving()  # type: ignore[assignment]

        with pytest.raises(SystemExit):
            get_llm("openai_then_gemini").invoke("hi")

        assert len(patchbay.runtime.transport.tickets) == 0

    def test_a_client_that_cannot_be_built_is_an_error_of_ours(self, patchbay: Patchbay) -> None:
        class Broken:
            def get_client(self, *_: object) -> None:
                raise ImportError("no SDK")

        patchbay.runtime.clients = Broken()  # type: ignore[assignment]

        with pytest.raises(CallError, match="a fault on our side"):
            get_llm("over_openai").invoke("hi")

        assert len(patchbay.runtime.transport.tickets) == 0

    def test_a_map_with_free_keys_is_not_forced_into_the_strict_dialect(
        self, provider: LoopbackProvider
    ) -> None:
        provider.script(Json({"scores": {"a": 1}}))

        assert get_llm("over_openai").with_structured_output(QualityScores).invoke("hi") == QualityScores(
            scores={"a": 1}
        )
        assert "strict" not in provider.requests[0].body["response_format"]["json_schema"]


@pytest.mark.usefixtures("patchbay")
class TestTokens:
    """LangChain's helpers count by the model; no tokenizer is loaded for it."""

    def test_a_text(self, feature: str) -> None:
        assert get_llm(feature).get_num_tokens("x" * 400) == 100

    def test_tools_count(self, feature: str) -> None:
        model = get_llm(feature)
        messages: list[BaseMessage] = [HumanMessage("x" * 400)]

        assert model.get_num_tokens_from_messages(messages) == 100
        assert model.get_num_tokens_from_messages(messages, tools=[add]) > 100

    def test_messages_are_trimmed_by_it(self, feature: str) -> None:
        messages = [HumanMessage("x" * 400), HumanMessage("y" * 40)]

        assert trim_messages(messages, max_tokens=20, token_counter=get_llm(feature)) == messages[1:]
