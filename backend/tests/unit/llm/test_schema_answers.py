"""The object in an answer: as a text, in the midst of one, or as the arguments of a tool that nobody gave."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from backend.tests.fakes.work import stays_within
from backend.utils.llm.clients import use
from backend.utils.llm.embedded_json import LONGEST, find_json_documents
from backend.utils.llm.errors import InvalidOutputError, ProviderDownError
from backend.utils.llm.structured import SchemaMismatchError, schema_of
from backend.utils.llm.testing import Json, LoopbackProvider, Raw, Text, ToolCalls
from backend.utils.llm.testing.patchbays import loopback_patchbay

from .drivers import DRIVERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.language_models import BaseChatModel

    from backend.utils.llm.patchbay import Patchbay

    Driver = Callable[[Any, Any], Any]


class Person(BaseModel):
    name: str
    age: int


ADA = {"name": "Ada", "age": 36}
FEATURES = {
    "chat": "openai:gpt-6-luna",
    "responses": "openai:gpt-6.1-terra",
    "gemini": "gemini:gemini-3.5-flash-lite",
}
ROWS = '[models."openai:gpt-6.1-terra"]\napi_mode = "responses"\n'


@pytest.fixture
def patchbay(provider: LoopbackProvider) -> Iterator[Patchbay]:
    with use(made := loopback_patchbay(provider, FEATURES, ROWS)):
        yield made
        made.close()


@pytest.fixture(params=FEATURES)
def model(request: pytest.FixtureRequest, patchbay: Patchbay) -> BaseChatModel:
    """A model over each API."""
    return patchbay.get_llm(request.param)


@pytest.fixture(params=DRIVERS, ids=lambda one: one.__name__)
def call(request: pytest.FixtureRequest) -> Driver:
    found: Driver = request.param
    return found


def look_up(city: str) -> str:
    """Look a city up."""
    return city


class TestCalls:
    """Some servers hold a model to a schema by a tool of theirs, and tell of its call."""

    def test_its_arguments_are_the_answer(
        self, model: BaseChatModel, provider: LoopbackProvider, call: Driver
    ) -> None:
        provider.always(ToolCalls((("anything", ADA),)))

        message = call(model.bind(schema=schema_of(Person)), "hi")

        assert message.additional_kwargs["parsed"] == Person(**ADA)
        assert (json.loads(message.text), message.tool_calls) == (ADA, [])

    def test_with_structured_output_gives_the_object(
        self, model: BaseChatModel, provider: LoopbackProvider
    ) -> None:
        provider.always(ToolCalls((("Person", ADA),)))

        assert model.with_structured_output(Person).invoke("hi") == Person(**ADA)

    def test_the_raw_message_stands_beside_it(self, model: BaseChatModel, provider: LoopbackProvider) -> None:
        provider.always(ToolCalls((("Person", ADA),)))

        found = model.with_structured_output(Person, include_raw=True).invoke("hi")

        assert (found["parsed"], found["parsing_error"]) == (Person(**ADA), None)

    def test_arguments_that_do_not_fit_are_repaired(
        self, model: BaseChatModel, provider: LoopbackProvider, call: Driver
    ) -> None:
        provider.script(ToolCalls((("Person", {"name": "Ada"}),)), Json(ADA))

        message = call(model.bind(schema=schema_of(Person)), "hi")

        assert message.additional_kwargs["parsed"] == Person(**ADA)
        assert "age: missing" in json.dumps(provider.requests[-1].body)

    def test_arguments_that_never_fit_are_an_error(
        self, model: BaseChatModel, provider: LoopbackProvider
    ) -> None:
        provider.always(ToolCalls((("Person", {}),)))

        found = model.with_structured_output(Person, include_raw=True).invoke("hi")

        assert found["parsed"] is None
        assert isinstance(found["parsing_error"], InvalidOutputError)

    def test_of_several_calls_the_first_that_fits(
        self, model: BaseChatModel, provider: LoopbackProvider
    ) -> None:
        provider.always(ToolCalls((("think", {"thought": "hm"}), ("Person", ADA))))

        assert model.with_structured_output(Person).invoke("hi") == Person(**ADA)

    def test_a_tool_of_the_product_is_called(self, model: BaseChatModel, provider: LoopbackProvider) -> None:
        provider.always(ToolCalls((("look_up", {"city": "Rom"}),)))

        found = model.with_structured_output(Person, include_raw=True, tools=[tool()]).invoke("hi")

        assert found["raw"].tool_calls[0]["name"] == "look_up"
        assert found["parsed"] is None

    def test_a_tool_call_in_place_of_the_object_is_an_error(
        self, model: BaseChatModel, provider: LoopbackProvider
    ) -> None:
        provider.always(ToolCalls((("look_up", {"city": "Rom"}),)))

        with pytest.raises(ValueError, match="called a tool"):
            model.with_structured_output(Person, tools=[tool()]).invoke("hi")


def tool() -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    return {"type": "function", "function": {"name": "look_up", "description": "", "parameters": parameters}}


def thought(text: str, counted: int = 0) -> Raw:
    """An answer of Chat Completions without content, whose thoughts are ``text``, of as many tokens as are ``counted``."""
    message = {"role": "assistant", "content": None, "reasoning_content": text}
    counts = {
        "prompt_tokens": 3,
        "completion_tokens": 9,
        "completion_tokens_details": {"reasoning_tokens": counted},
    }
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return Raw(200, json.dumps({"choices": [choice], "usage": counts}))


TEXT = json.dumps(ADA)
FORMS = {
    "a thought before": f"<think>Somebody {{famous}}?</think>{TEXT}",
    "a thought with an object": f'<thinking>{{"name": "Bob", "age": 1}}</thinking>\n\n{TEXT}',
    "a thought that was begun before": f"so it is Ada.</think>\n{TEXT}",
    "a block": f"```json\n{TEXT}\n```",
    "a block in capitals": f"```JSON\n{TEXT}\n```",
    "a block without a language": f"```\n{TEXT}\n```",
    "a sentence and a block": f"Here you are:\n\n```json\n{TEXT}\n```\nAnything else?",
    "a block that does not end": f"```json\n{TEXT}",
    "a sentence before": f"The answer is: {TEXT}",
    "a sentence behind": f"{TEXT}\n\nI hope that helps {{really}}.",
    "a byte order mark": f"\ufeff{TEXT}",
    "a draft before": f'First try: {{"name": "Bob", "age": 1}}. Better: {TEXT}',
    "an object of another kind": f'{{"note": "hm"}} {TEXT}',
    "quotation marks that do not match": f'He said "hello {{there: {TEXT}',
    "a thought in brackets": f'[THINK]{{"name": "Bob", "age": 1}}[/THINK]{TEXT}',
    "a thought between triangles": f'◁think▷{{"name": "Bob", "age": 1}}◁/think▷{TEXT}',
    "a key around it": f'{{"person": {TEXT}}}',
    "a call as a text": f'<tool_call>{{"name": "Person", "arguments": {TEXT}}}</tool_call>',
}


class TestTexts:
    """A model that thinks aloud, or is polite, has answered all the same."""

    @pytest.mark.parametrize("form", FORMS)
    def test_the_object_is_found(self, form: str) -> None:
        assert schema_of(Person).parse(FORMS[form]) == Person(**ADA)

    def test_a_line_break_in_a_text_is_part_of_it(self) -> None:
        assert schema_of(Person).parse('{"name": "Ada\nL.", "age": 36}') == Person(name="Ada\nL.", age=36)

    def test_in_one_request(self, model: BaseChatModel, provider: LoopbackProvider, call: Driver) -> None:
        provider.always(Text(FORMS["a sentence and a block"]))

        message = call(model.bind(schema=schema_of(Person)), "hi")

        assert message.additional_kwargs["parsed"] == Person(**ADA)
        assert len(provider.requests) == 1

    # vllm-project/vllm#19222, #17349, #50948, QwenLM/Qwen3#1297: a model that was asked not to think.
    def test_thoughts_that_are_nothing_but_the_object_are_it(
        self, patchbay: Patchbay, provider: LoopbackProvider, call: Driver
    ) -> None:
        provider.always(thought(TEXT))

        message = call(patchbay.get_llm("chat").bind(schema=schema_of(Person)), "hi")

        assert message.additional_kwargs["parsed"] == Person(**ADA)
        assert message.text == TEXT
        assert "reasoning_content" not in message.additional_kwargs
        assert len(provider.requests) == 1

    @pytest.mark.parametrize(
        ("thoughts", "counted"),
        [
            (f"Is it {TEXT}?", 0),
            (TEXT[:-1], 0),
            (f"{TEXT}, or not", 0),
            ('{"name": "Ada"}', 0),
            (TEXT, 9),  # a draft
        ],
    )
    def test_other_thoughts_are_no_answer(
        self, provider: LoopbackProvider, call: Driver, thoughts: str, counted: int
    ) -> None:
        provider.always(thought(thoughts, counted))
        once = loopback_patchbay(provider, FEATURES, f"{ROWS}[features.chat]\nattempts = 1\n")

        with use(once), pytest.raises(ProviderDownError) as caught:
            call(once.get_llm("chat").bind(schema=schema_of(Person)), "hi")
        once.close()

        assert {attempt.category for attempt in caught.value.attempts} == {"empty"}

    @pytest.mark.parametrize(
        "text",
        [
            f"<think>{TEXT}</think>",
            f"<think>{TEXT}",
            f"[THINK]{TEXT}[/THINK]",
            f'{{"one": {TEXT}, "other": {TEXT}}}',
            f"[{TEXT}]",
            f"[{TEXT}, {TEXT}]",
            TEXT[:-1],
            json.dumps(TEXT),
            "",
            "no object",
        ],
    )
    def test_what_is_no_answer_is_not_taken_for_one(self, text: str) -> None:
        with pytest.raises(SchemaMismatchError):
            schema_of(Person).parse(text)

    def test_faults_are_reported_of_the_object_that_was_found(self) -> None:
        with pytest.raises(SchemaMismatchError, match="age: missing"):
            schema_of(Person).parse('Here: {"name": "Ada"}')

    @pytest.mark.parametrize("text", ['Here: {"name": "canary"}', "canary", '{"age": "canary"}'])
    def test_the_text_is_not_repeated(self, text: str) -> None:
        with pytest.raises(SchemaMismatchError) as caught:
            schema_of(Person).parse(text)

        assert "canary" not in str(caught.value)


LENGTH = 200_000
HOSTILE = {
    "braces": "{" * LENGTH,
    "brackets": "[" * LENGTH,
    "objects in objects": '{"a":' * (LENGTH // 5),
    "lists that end in nothing": "[" * 900 + "1" * LENGTH,
    "texts that do not end": '{"' * (LENGTH // 2),
    "texts and braces": '{"a":"' * (LENGTH // 6),
    "one long text in lists": "[" * 60 + '"' + "x" * LENGTH,
    "one long text": '{"a":"' + "x" * LENGTH,
    "many small objects": "{}" * (LENGTH // 2),
    "many small lists": "[1]" * (LENGTH // 3),
    "thoughts": "<think>" * (LENGTH // 7),
    "thoughts that end": "</think>" * (LENGTH // 8),
    "half a tag": "<thin" * (LENGTH // 5),
    "fences": "```json\n" * (LENGTH // 8),
    "numbers": "{" + "9" * LENGTH,
    "nearly an object": ('{"a": [' + "1," * 500) * (LENGTH // 1007),
}


class TestBounds:
    """Whatever a server sends, looking for an object in it takes a moment."""

    @pytest.mark.parametrize("kind", HOSTILE)
    def test_no_text_takes_long(self, kind: str) -> None:
        def parsed() -> None:
            with pytest.raises(SchemaMismatchError):
                schema_of(Person).parse(HOSTILE[kind])

        assert stays_within(1, parsed)

    @given(
        st.lists(
            st.sampled_from(['{"a":', "{", "[", '"', "]", "}", "1,", "\\", "x" * 50, "<think>"]), max_size=40
        )
    )
    def test_every_character_is_read_a_few_times_at_most(self, parts: list[str]) -> None:
        text = "".join(parts) * 200

        assert stays_within(1, lambda: list(find_json_documents(text)))
        assert sum(map(len, find_json_documents(text))) <= len(text)

    @given(st.text(), st.text())
    def test_no_text_around_raises_anything(self, before: str, behind: str) -> None:
        for document in find_json_documents(f"{before}{TEXT}{behind}"):
            json.loads(document, strict=False)

    def test_the_rest_of_a_text_beyond_all_measure_is_not_searched(self) -> None:
        assert list(find_json_documents("x" * LONGEST + TEXT)) == []
