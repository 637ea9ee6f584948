"""An answer that does not do gets one repair, then another endpoint; the caller's own test is one of the tests."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage
from pydantic import BaseModel, field_validator

from backend.utils.llm.clients import get_llm
from backend.utils.llm.errors import AllAttemptsFailedError, InvalidOutputError, LLMError, RefusedError
from backend.utils.llm.testing import Json, Refusal, Status, Text, ToolCalls, Usage
from backend.utils.llm.testing.anthropic_wire import FakeAnthropicApi
from backend.utils.llm.testing.gemini_wire import FakeGeminiApi
from backend.utils.llm.testing.openai_wire import FakeOpenAIApi

from .drivers import ainvoke, astream, invoke, stream
from .samples import Person, add, receipt

if TYPE_CHECKING:
    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.testing import LoopbackProvider, RecordedRequest
    from backend.utils.llm.testing.virtual_time import VirtualTime
    from backend.utils.llm.testing.wire import FakeProviderApi

    from .conftest import Make
    from .drivers import Driver


WIRES: dict[str, FakeProviderApi] = {
    "openai": FakeOpenAIApi(),
    "gemini": FakeGeminiApi(),
    "anthropic": FakeAnthropicApi(),
}
ANN = Json({"name": "Ann", "age": 30})
UNFIT = Text('{"name": "canary-answer", "age": "canary-age"}')
CUT = Text('{"name": "canary-answer", "age": 3', finish="length")
CUT_BUT_FITTING = Text('{"name": "canary-answer", "age": 3}', finish="length")
PROMPT = "canary-prompt: who is it?"
OPENAI, GEMINI, THIRD = "openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite", "openai:gpt-4o"


class UnlikelyError(ValueError):
    """One of the application's own: no interruption, though no library has it."""


class Picky(BaseModel):
    """Has a validator with a fault of its own."""

    name: str

    @field_validator("name")
    @classmethod
    def look_up(cls, name: str) -> str:
        return {"known": "yes"}[name]


def turns(request: RecordedRequest) -> list[tuple[str, str]]:
    """Who said what, whichever wire it travelled on."""
    return [(turn.role, turn.text) for turn in WIRES[request.wire].parse_request(request.body).turns]


def outcomes(message: AIMessage) -> list[str]:
    return [attempt["outcome"] for attempt in receipt(message)["attempts"]]


def person(feature: str) -> Any:
    """The model held to `Person`, giving the message: all four drivers can call it."""
    return get_llm(feature).bind(response_format=Person)


@pytest.fixture(params=[invoke, stream], ids=["invoke", "stream"])
def call_here(request: pytest.FixtureRequest) -> Driver:
    """Both synchronous ways to call."""
    return request.param


@pytest.fixture(params=[ainvoke, astream], ids=["ainvoke", "astream"])
def call_in_loop(request: pytest.FixtureRequest) -> Driver:
    """Both asynchronous ways to call."""
    return request.param


@pytest.mark.usefixtures("patchbay")
class TestRepair:
    """The endpoint that gave a bad answer gets one chance to mend it."""

    def test_an_answer_that_does_not_fit_is_mended_where_it_came_from(
        self, chain: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(UNFIT, ANN)

        message = call(person(chain), PROMPT)

        assert message.additional_kwargs["parsed"] == Person(name="Ann", age=30)
        assert outcomes(message) == ["rejected", "ok"]
        assert len({request.model for request in provider.requests}) == 1

    def test_the_model_sees_its_answer_and_what_is_wrong_with_it(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(UNFIT, ANN)

        call(person(feature), PROMPT)

        first, second = map(turns, provider.requests)
        assert second[: len(first)] == first
        (speaker, said), (critic, criticism) = second[len(first) :]
        assert (speaker, said) == ("assistant", UNFIT.text)
        assert critic == "user"
        assert "age: int_parsing" in criticism

    def test_the_repair_is_held_to_the_same_schema(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(UNFIT, ANN)

        call(person(feature), PROMPT)

        asked = [WIRES[request.wire].parse_request(request.body).schema for request in provider.requests]
        assert asked[0] is not None
        assert asked[0] == asked[1]

    def test_it_comes_at_once(
        self, feature: str, call: Driver, provider: LoopbackProvider, virtual: VirtualTime
    ) -> None:
        provider.script(UNFIT, ANN)

        call(person(feature), PROMPT)

        assert virtual.slept == []

    def test_after_one_repair_the_next_endpoint_is_asked(
        self, chain: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(UNFIT, UNFIT, ANN)

        message = call(person(chain), PROMPT)

        assert outcomes(message) == ["rejected", "rejected", "ok"]
        models = [request.model for request in provider.requests]
        assert models[0] == models[1] != models[2]

    def test_the_next_endpoint_is_asked_afresh(
        self, chain: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(UNFIT, UNFIT, ANN)

        call(person(chain), PROMPT)

        assert turns(provider.requests[2]) == turns(provider.requests[0])

    def test_the_next_endpoint_has_a_repair_of_its_own(
        self, chain: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        theirs = Text('{"name": "canary-of-the-second", "age": null}')
        provider.script(UNFIT, UNFIT, theirs, ANN)

        message = call(person(chain), PROMPT)

        assert outcomes(message) == ["rejected", "rejected", "rejected", "ok"]
        said = [text for who, text in turns(provider.requests[3]) if who == "assistant"]
        assert said == [theirs.text]

    def test_when_no_repair_succeeds_the_error_lists_every_answer(
        self, chain: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(UNFIT)

        with pytest.raises(AllAttemptsFailedError) as caught:
            call(person(chain), PROMPT)

        assert [attempt.outcome for attempt in caught.value.attempts] == ["rejected"] * 4
        assert not caught.value.retryable

    def test_no_error_repeats_prompt_or_answer(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(UNFIT)

        with pytest.raises(InvalidOutputError) as caught:
            call(person(feature), PROMPT)

        assert "canary" not in f"{caught.value} {caught.value!r} {json.dumps(caught.value.as_dict())}"

    def test_the_error_holds_the_last_answer(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(Text("the first"), Text("the last"))

        with pytest.raises(InvalidOutputError) as caught:
            call(person(feature), PROMPT)

        assert caught.value.answer is not None
        assert caught.value.answer.text == "the last"

    def test_bad_answers_never_open_a_breaker(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(UNFIT)

        for _ in range(6):
            with pytest.raises(InvalidOutputError):
                call(person(feature), PROMPT)

        assert len(provider.requests) == 12

    def test_a_repair_that_the_provider_failed_is_sent_again(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(UNFIT, Status(503), ANN)

        message = call(person(feature), PROMPT)

        assert outcomes(message) == ["rejected", "failed", "ok"]
        assert turns(provider.requests[2]) == turns(provider.requests[1])


@pytest.mark.usefixtures("patchbay")
class TestTruncated:
    """An answer that ran out of tokens is asked for again, shorter."""

    @pytest.mark.parametrize("cut", [CUT, CUT_BUT_FITTING], ids=["broken", "fitting"])
    def test_it_is_never_handed_on(
        self, feature: str, call: Driver, provider: LoopbackProvider, cut: Text
    ) -> None:
        provider.always(cut)

        with pytest.raises(InvalidOutputError, match="ran out of tokens") as caught:
            call(person(feature), PROMPT)

        assert [attempt.category for attempt in caught.value.attempts] == ["truncated", "truncated"]

    def test_the_model_is_asked_for_less_without_its_text(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(CUT, ANN)

        call(person(feature), PROMPT)

        first, second = map(turns, provider.requests)
        ((critic, criticism),) = second[len(first) :]
        assert critic == "user"
        assert "shorter" in criticism
        assert "canary-answer" not in json.dumps(provider.requests[1].body)

    def test_it_is_asked_once_then_the_next_endpoint(
        self, chain: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(CUT, CUT, ANN)

        message = call(person(chain), PROMPT)

        assert outcomes(message) == ["rejected", "rejected", "ok"]
        assert turns(provider.requests[2]) == turns(provider.requests[0])

    @pytest.mark.parametrize("replies", [(CUT, UNFIT), (UNFIT, CUT)], ids=["cut first", "unfit first"])
    def test_another_kind_of_bad_answer_is_no_reason_for_a_second_repair(
        self, feature: str, call: Driver, provider: LoopbackProvider, replies: tuple[Text, Text]
    ) -> None:
        provider.script(*replies)

        with pytest.raises(InvalidOutputError):
            call(person(feature), PROMPT)

        assert len(provider.requests) == 2

    def test_plain_text_may_end_at_the_limit(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(Text("cut sh", finish="length"))

        assert call(get_llm(feature), PROMPT).text == "cut sh"


class TestCost:
    """Rejected answers were paid for."""

    def test_each_is_an_attempt_with_usage_and_cost_and_the_receipt_has_the_sum(
        self, patchbay: Patchbay, call: Driver, provider: LoopbackProvider
    ) -> None:
        rejected = Text(UNFIT.text, usage=Usage(input_tokens=1000, output_tokens=500))
        provider.script(rejected, Json({"name": "Ann", "age": 30}, usage=Usage(2000, 100)))

        model = patchbay.get_llm("over_gemini").bind(response_format=Person)
        found = receipt(call(model, PROMPT))

        first, second = found["attempts"]
        assert (first["usage"]["input"], first["usage"]["output"]) == (1000, 500)
        assert Decimal(first["cost_usd"]) > 0
        assert Decimal(found["cost_usd"]) == Decimal(first["cost_usd"]) + Decimal(second["cost_usd"])

    def test_an_error_carries_what_its_rejected_answers_cost(
        self, patchbay: Patchbay, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(UNFIT)

        with pytest.raises(InvalidOutputError) as caught:
            call(patchbay.get_llm("over_gemini").bind(response_format=Person), PROMPT)

        assert all(attempt.usage and attempt.cost_usd for attempt in caught.value.attempts)

    def test_one_unknown_price_makes_the_sum_unknown(
        self, call: Driver, provider: LoopbackProvider, make: Make
    ) -> None:
        chain = ["openai:a-model-nobody-knows", GEMINI]
        known = "[models.'openai:a-model-nobody-knows']\nstructured_output = true"
        patchbay = make(chain, known)
        provider.script(UNFIT, UNFIT, ANN)

        found = receipt(call(patchbay.get_llm("f").bind(response_format=Person), PROMPT))

        assert [attempt["cost_usd"] is None for attempt in found["attempts"]] == [True, True, False]
        assert found["cost_usd"] is None

    def test_a_refusal_is_rejected_and_paid_for(
        self, call: Driver, provider: LoopbackProvider, make: Make
    ) -> None:
        patchbay = make([OPENAI, GEMINI], '[features.f]\non_refusal = "next"')
        provider.script(Refusal("I will not."), Text("I will."))

        found = receipt(call(patchbay.get_llm("f"), PROMPT))

        assert [attempt["outcome"] for attempt in found["attempts"]] == ["rejected", "ok"]
        assert found["attempts"][0]["usage"]["input"] > 0


class TestPolicy:
    """How far a feature goes for a better answer."""

    def test_a_feature_may_stop_after_the_repair(
        self, call: Driver, provider: LoopbackProvider, make: Make
    ) -> None:
        row = '[features.f]\non_invalid_output = "raise"'
        patchbay = make([OPENAI, GEMINI], row)
        provider.always(UNFIT)

        with pytest.raises(InvalidOutputError):
            call(patchbay.get_llm("f").bind(response_format=Person), PROMPT)

        assert [request.model for request in provider.requests] == ["gpt-6-luna"] * 2

    @pytest.mark.parametrize("row", ["[features.f]\nattempts = 1", f"[models.'{OPENAI}']\nattempts = 1"])
    def test_with_one_attempt_there_is_no_repair(
        self, call: Driver, provider: LoopbackProvider, row: str, make: Make
    ) -> None:
        patchbay = make(OPENAI, row)
        provider.always(UNFIT)

        with pytest.raises(InvalidOutputError):
            call(patchbay.get_llm("f").bind(response_format=Person), PROMPT)

        assert len(provider.requests) == 1

    def test_a_repair_never_takes_the_next_endpoints_turn(
        self, call: Driver, provider: LoopbackProvider, make: Make
    ) -> None:
        patchbay = make([OPENAI, GEMINI], "[features.f]\nmax_attempts = 2")
        provider.script(UNFIT, ANN)

        message = call(patchbay.get_llm("f").bind(response_format=Person), PROMPT)

        assert receipt(message)["endpoint"] == GEMINI

    @pytest.mark.parametrize("by", ["model", "filter"])
    def test_a_refusal_is_taken_to_one_other_endpoint_only(
        self, call: Driver, provider: LoopbackProvider, by: Any, make: Make
    ) -> None:
        patchbay = make([OPENAI, GEMINI, THIRD], '[features.f]\non_refusal = "next"')
        provider.always(Refusal("I will not.", by=by))

        with pytest.raises(LLMError) as caught:
            call(patchbay.get_llm("f"), PROMPT)

        assert [attempt.endpoint for attempt in caught.value.attempts] == [OPENAI, GEMINI]
        assert len(provider.requests) == 2

    def test_a_refusal_is_not_repaired(self, call: Driver, provider: LoopbackProvider, make: Make) -> None:
        patchbay = make(OPENAI, '[features.f]\non_refusal = "next"')
        provider.always(Refusal("I will not."))

        with pytest.raises(RefusedError):
            call(patchbay.get_llm("f"), PROMPT)

        assert len(provider.requests) == 1


@pytest.mark.usefixtures("patchbay")
class TestAccept:
    """The caller's own test of an answer."""

    def test_it_is_given_the_object_if_there_is_a_schema(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        seen: list[Any] = []
        provider.script(ANN)

        call(person(feature).bind(accept=seen.append), PROMPT)

        assert seen == [Person(name="Ann", age=30)]

    def test_else_it_is_given_the_message(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        seen: list[Any] = []
        provider.script(Text("Good morning."))

        call(get_llm(feature).bind(accept=seen.append), PROMPT)

        (message,) = seen
        assert isinstance(message, AIMessage)
        assert message.text == "Good morning."

    @pytest.mark.parametrize("verdict", [True, None])
    def test_true_and_nothing_accept(
        self, feature: str, call: Driver, provider: LoopbackProvider, verdict: object
    ) -> None:
        call(get_llm(feature).bind(accept=lambda _: verdict), PROMPT)

        assert len(provider.requests) == 1

    def test_false_rejects_and_the_model_may_mend_it(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(Text("a bad one"), Text("a good one"))

        message = call(get_llm(feature).bind(accept=lambda one: "good" in one.text), PROMPT)

        assert message.text == "a good one"
        assert outcomes(message) == ["rejected", "ok"]
        assert ("assistant", "a bad one") in turns(provider.requests[1])

    def test_what_is_rejected_everywhere_is_an_invalid_output(
        self, chain: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        with pytest.raises(AllAttemptsFailedError) as caught:
            call(get_llm(chain).bind(accept=lambda _: False), PROMPT)

        assert [attempt.category for attempt in caught.value.attempts] == ["invalid_output"] * 4

    @pytest.mark.parametrize("kind", [ValueError, UnlikelyError])
    def test_the_text_of_a_value_error_reaches_only_the_model(
        self, feature: str, call: Driver, provider: LoopbackProvider, kind: type[ValueError]
    ) -> None:
        def accept(_: object) -> bool:
            raise kind("canary-fault: Ann is not that old")

        with pytest.raises(InvalidOutputError) as caught:
            call(get_llm(feature).bind(accept=accept), PROMPT)

        assert "canary-fault: Ann is not that old" in turns(provider.requests[1])[-1][1]
        assert "canary" not in f"{caught.value} {caught.value.__cause__}"

    @pytest.mark.parametrize("kind", [TypeError, KeyError, RuntimeError, TimeoutError])
    def test_any_other_error_comes_out_as_it_is_and_nothing_more_is_sent(
        self, chain: str, call_here: Driver, provider: LoopbackProvider, kind: type[Exception]
    ) -> None:
        fault = kind("the caller's own")

        def accept(_: object) -> bool:
            raise fault

        with pytest.raises(kind) as caught:
            call_here(get_llm(chain).bind(accept=accept), PROMPT)

        assert caught.value is fault
        assert len(provider.requests) == 1

    @pytest.mark.parametrize("kind", [TypeError, KeyError, RuntimeError, TimeoutError])
    def test_a_fault_of_an_asynchronous_acceptance_test_is_raised(
        self, chain: str, call_in_loop: Driver, provider: LoopbackProvider, kind: type[Exception]
    ) -> None:
        fault = kind("the caller's own")

        async def accept(_: object) -> bool:
            raise fault

        with pytest.raises(kind) as caught:
            call_in_loop(get_llm(chain).bind(accept=accept), PROMPT)

        assert caught.value is fault
        assert len(provider.requests) == 1

    def test_it_may_be_asynchronous_where_the_call_is(
        self, feature: str, call_in_loop: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(Text("a bad one"), Text("a good one"))

        async def accept(message: AIMessage) -> bool:
            await asyncio.sleep(0)
            return "good" in message.text

        assert call_in_loop(get_llm(feature).bind(accept=accept), PROMPT).text == "a good one"

    def test_an_asynchronous_one_is_refused_where_the_call_is_not(
        self, feature: str, call_here: Driver, provider: LoopbackProvider
    ) -> None:
        async def accept(_: object) -> bool:
            return True

        with pytest.raises(TypeError, match="ainvoke and astream only"):
            call_here(get_llm(feature).bind(accept=accept), PROMPT)

        assert not provider.requests

    def test_whatever_else_can_be_awaited_is_refused_there_too(
        self, feature: str, call_here: Driver, provider: LoopbackProvider
    ) -> None:
        class Later:
            def __await__(self) -> Any:
                yield

        with pytest.raises(TypeError, match="ainvoke and astream only"):
            call_here(get_llm(feature).bind(accept=lambda _: Later()), PROMPT)

        assert len(provider.requests) == 1

    def test_a_stream_hands_on_nothing_before_it_was_accepted(
        self, feature: str, stream: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(Text("one two three"), Text("four five six"))

        message = stream(get_llm(feature).bind(accept=lambda one: "four" in one.text), PROMPT)

        assert message.text == "four five six"
        assert outcomes(message) == ["rejected", "ok"]

    def test_a_streaming_model_is_tested_too(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(Text("a bad one"), Text("a good one"))

        model = get_llm(feature, streaming=True).bind(accept=lambda one: "good" in one.text)

        assert call(model, PROMPT).text == "a good one"

    def test_it_goes_with_structured_output(self, feature: str, provider: LoopbackProvider) -> None:
        provider.script(Json({"name": "Bob", "age": 1}), ANN)
        model = get_llm(feature).with_structured_output(Person, accept=lambda one: one.name == "Ann")

        assert model.invoke(PROMPT) == Person(name="Ann", age=30)

    def test_with_raw_a_rejected_answer_is_returned_beside_the_error(
        self, feature: str, provider: LoopbackProvider
    ) -> None:
        provider.always(ANN)
        model = get_llm(feature).with_structured_output(Person, include_raw=True, accept=lambda _: False)

        found = model.invoke(PROMPT)

        assert found["parsed"] is None
        assert isinstance(found["parsing_error"], InvalidOutputError)
        assert "Ann" in found["raw"].text

    def test_it_may_be_given_to_invoke(self, feature: str, provider: LoopbackProvider) -> None:
        provider.script(Text("a bad one"), Text("a good one"))

        message = get_llm(feature).invoke(PROMPT, accept=lambda one: "good" in one.text)

        assert message.text == "a good one"

    def test_a_stream_of_an_object_gives_the_accepted_one_only(
        self, feature: str, provider: LoopbackProvider
    ) -> None:
        provider.script(Json({"name": "Bob", "age": 1}), ANN)
        model = get_llm(feature).with_structured_output(Person, accept=lambda one: one.name == "Ann")

        assert list(model.stream(PROMPT)) == [Person(name="Ann", age=30)]

    def test_a_call_of_a_tool_is_tested_as_the_message(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(ToolCalls((("add", {"first": 1, "second": 2}),)))
        seen: list[Any] = []
        model = get_llm(feature).bind_tools([add]).bind(accept=seen.append)

        call(model, PROMPT)

        assert [one["name"] for one in seen[0].tool_calls] == ["add"]

    def test_a_model_may_be_asked_in_it(
        self, feature: str, call_here: Driver, provider: LoopbackProvider, patchbay: Patchbay
    ) -> None:
        provider.script(Text("a question"), Text("yes"))

        message = call_here(
            get_llm(feature).bind(accept=lambda one: get_llm(feature).invoke(one.text).text == "yes"), PROMPT
        )

        assert message.text == "a question"
        assert len(receipt(message)["attempts"]) == 1
        assert len(patchbay.runtime.transport.tickets) == 0

    def test_a_model_may_be_awaited_in_it(
        self, feature: str, call_in_loop: Driver, provider: LoopbackProvider, patchbay: Patchbay
    ) -> None:
        provider.script(Text("a question"), Text("yes"))

        async def accept(message: AIMessage) -> bool:
            return (await get_llm(feature).ainvoke(message.text)).text == "yes"

        message = call_in_loop(get_llm(feature).bind(accept=accept), PROMPT)

        assert message.text == "a question"
        assert len(receipt(message)["attempts"]) == 1
        assert len(patchbay.runtime.transport.tickets) == 0

    def test_the_failure_of_a_model_that_is_asked_in_it_comes_out_as_it_is(
        self, feature: str, call_here: Driver, provider: LoopbackProvider
    ) -> None:
        failures: list[LLMError] = []
        provider.script(Text("a question"), Refusal("I will not.", by="filter"))

        def accept(message: AIMessage) -> None:
            try:
                get_llm(feature).invoke(message.text)
            except LLMError as error:
                failures.append(error)
                raise

        with pytest.raises(RefusedError) as caught:
            call_here(get_llm(feature).bind(accept=accept), PROMPT)

        assert [caught.value] == failures


@pytest.mark.usefixtures("patchbay")
class TestValidators:
    """A schema's own code may be wrong."""

    def test_a_broken_validator_raises_its_own_error_and_nothing_more_is_sent(
        self, chain: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(Json({"name": "unknown"}))

        with pytest.raises(KeyError, match="unknown"):
            call(get_llm(chain).bind(response_format=Picky), PROMPT)

        assert len(provider.requests) == 1

    def test_an_error_inside_a_validator_leaves_no_ticket_open(
        self, feature: str, call: Driver, provider: LoopbackProvider, patchbay: Patchbay
    ) -> None:
        provider.always(Json({"name": "unknown"}))

        with pytest.raises(KeyError):
            call(get_llm(feature).bind(response_format=Picky), PROMPT)

        assert len(patchbay.runtime.transport.tickets) == 0
