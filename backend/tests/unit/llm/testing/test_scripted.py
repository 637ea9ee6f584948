"""`ScriptedChatModel`: LangChain's unit suite, and what the script promises."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langchain_tests.unit_tests import ChatModelUnitTests
from pydantic import BaseModel
from typing_extensions import TypedDict

from backend.utils.llm import testing
from backend.utils.llm.testing import ScriptedChatModel, ScriptExhaustedError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessageChunk


class Meal(BaseModel):
    """A meal."""

    title: str
    guests: int = 1


class MealDict(TypedDict):
    """A meal."""

    title: str


@tool
def book(title: str) -> str:
    """Book a table."""
    return title


class TestStandard(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ScriptedChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"script": ["hi"]}


def test_replies_are_served_in_order_to_every_way_of_calling() -> None:
    """A text answers each of invoke, stream and batch."""
    model = ScriptedChatModel(script=["one", "two three", AIMessage("four"), "five"])

    said = [model.invoke("a").text, "".join(chunk.text for chunk in model.stream("b"))]
    said += [message.text for message in model.batch(["c", "d"], config={"max_concurrency": 1})]

    assert said == ["one", "two three", "four", "five"]
    assert [call.messages[-1].text for call in model.calls] == ["a", "b", "c", "d"]


async def test_replies_are_served_in_order_when_awaited() -> None:
    """The same, asynchronously."""
    model = ScriptedChatModel(script=["one", "two three"])

    said = [(await model.ainvoke("a")).text, "".join([chunk.text async for chunk in model.astream("b")])]

    assert said == ["one", "two three"]


def test_a_script_that_ends_says_after_how_many_calls() -> None:
    """A call too many is an assertion that fails, not a strange answer."""
    model = ScriptedChatModel(script=["one"])
    model.invoke("a")

    with pytest.raises(ScriptExhaustedError, match="script exhausted after 1 calls"):
        model.invoke("b")


def test_the_last_reply_is_repeated_when_asked() -> None:
    """`repeat_last` makes a script endless; an empty one stays empty."""
    model = ScriptedChatModel(script=["one", "two"], repeat_last=True)

    assert [model.invoke("a").text for _ in range(4)] == ["one", "two", "two", "two"]
    with pytest.raises(ScriptExhaustedError):
        ScriptedChatModel(script=[], repeat_last=True).invoke("a")


@pytest.mark.parametrize("error", [TimeoutError("slow"), TimeoutError], ids=["object", "class"])
def test_an_exception_is_raised_and_counted_as_a_call(error: Any) -> None:
    """An error takes its turn; the next call gets the next entry."""
    model = ScriptedChatModel(script=[error, "fine"])

    with pytest.raises(TimeoutError):
        model.invoke("a")

    assert model.invoke("b").text == "fine"
    assert len(model.calls) == 2


def test_a_stream_comes_in_words_with_usage_on_the_last() -> None:
    """Added up, a stream is the message that an invocation gives."""
    model = ScriptedChatModel(script=["one two three"] * 2)

    chunks: list[AIMessageChunk] = list(model.stream("hello"))

    assert [chunk.text for chunk in chunks] == ["one ", "two ", "three", ""]
    assert [chunk.usage_metadata is not None for chunk in chunks] == [False, False, False, True]
    whole = sum(chunks[1:], start=chunks[0])
    invoked = model.invoke("hello")
    assert whole.usage_metadata == invoked.usage_metadata
    assert whole.response_metadata == invoked.response_metadata


def test_tools_are_recorded_and_a_forced_one_is_called_with_a_dict() -> None:
    """A dict is the arguments of a forced tool, in a stream as well."""
    model = ScriptedChatModel(script=[{"title": "Lunch"}] * 2 + ["no tool"])
    forced = model.bind_tools([book], tool_choice="book")

    invoked = forced.invoke("a")
    chunks = list(forced.stream("b"))

    streamed = sum(chunks[1:], start=chunks[0])
    for message in (invoked, streamed):
        assert [(call["name"], call["args"]) for call in message.tool_calls] == [("book", {"title": "Lunch"})]
    assert model.calls[0].kwargs["tools"][0]["function"]["name"] == "book"
    assert model.bind_tools([book]).invoke("c").text == "no tool"


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param(Meal, Meal(title="Lunch"), id="pydantic"),
        pytest.param(MealDict, {"title": "Lunch"}, id="typeddict"),
        pytest.param(Meal.model_json_schema(), {"title": "Lunch"}, id="json-schema"),
    ],
)
def test_structured_output_is_the_scripts_dict(schema: Any, expected: Any) -> None:
    """A dict in the script is the answer, whatever kind of schema asked for it."""
    model = ScriptedChatModel(script=[{"title": "Lunch"}] * 2)

    assert model.with_structured_output(schema).invoke("a") == expected
    raw = model.with_structured_output(schema, include_raw=True).invoke("b")

    assert raw["parsed"] == expected
    assert raw["parsing_error"] is None
    assert raw["raw"].usage_metadata is not None


def test_structured_output_takes_objects_and_reports_what_does_not_parse() -> None:
    """An object is its own answer; `include_raw` keeps the message that failed."""
    model = ScriptedChatModel(script=[Meal(title="Tea", guests=2), "not JSON"])
    structured = model.with_structured_output(Meal, include_raw=True)

    good, bad = structured.invoke("a"), structured.invoke("b")

    assert good["parsed"] == Meal(title="Tea", guests=2)
    assert bad["parsed"] is None
    assert bad["raw"].text == "not JSON"
    assert bad["parsing_error"] is not None


def test_stop_and_model_of_a_call_are_recorded() -> None:
    """What is passed beside the messages can be asserted on."""
    model = ScriptedChatModel(script=["one"])

    answer = model.invoke([HumanMessage("a")], stop=["x"], model="other")

    assert model.calls[0].kwargs["stop"] == ["x"]
    assert answer.response_metadata["model_name"] == "other"


def test_an_entry_is_served_once_from_many_threads() -> None:
    """Concurrent callers share one script."""
    model = ScriptedChatModel(script=[str(number) for number in range(200)])

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda _: model.invoke("a").text, range(200)))

    assert sorted(said, key=int) == [str(number) for number in range(200)]


def test_the_scripts_messages_are_not_changed() -> None:
    """What is added to an answer is added to a copy."""
    entry = AIMessage("hi")

    ScriptedChatModel(script=[entry]).invoke("a")

    assert entry.usage_metadata is None


def test_every_public_name_exists_and_is_sorted() -> None:
    """`__all__` is complete, sorted (as ruff sorts) and true."""
    assert len(set(testing.__all__)) == len(testing.__all__)
    assert all(getattr(testing, name).__name__ == name for name in testing.__all__ if name != "Reply")
    assert set(testing.__all__) <= set(dir(testing))
    with pytest.raises(AttributeError, match="nothing_such"):
        testing.nothing_such  # noqa: B018 - the access is the act


def test_the_package_is_imported_without_langchain() -> None:
    """Only `ScriptedChatModel` loads LangChain; the loopback provider does not."""
    facade = Path(testing.__file__).parents[1]
    program = (
        f"import sys; sys.path.append({str(facade)!r}); import testing; testing.LoopbackProvider; "
        "early = [name for name in sys.modules if name.startswith('langchain')]; "
        "testing.ScriptedChatModel; print(early, 'langchain_core' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603

    assert done.stdout.strip() == "[] True"
