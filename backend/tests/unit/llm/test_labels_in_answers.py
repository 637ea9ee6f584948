"""Whatever a provider calls things by in an answer: no log, warning, error, receipt or metric tells the key, or acts.

The answer's own text is the caller's. What stands beside it is read by those who run the house.
"""

from __future__ import annotations

import json
import logging
import pickle
import traceback
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from pydantic import BaseModel

from backend.utils.llm import Caller, Patchbay, Table, use_caller
from backend.utils.llm.errors import InvalidOutputError, LLMError, RefusedError
from backend.utils.llm.execution.observers.registry import MOST_SUBSTITUTES, LoggedSubstituteModels
from backend.utils.llm.foreign import LONGEST, escape_control_characters
from backend.utils.llm.testing.patchbays import HOUSE_KEYS

from .tables import table_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.messages import AIMessage

    from backend.tests.fakes.strangers import Stranger
    from backend.utils.llm.receipt import Attempt

    from .drivers import Driver

    Reply = tuple[int, dict[str, str], list[bytes]]

KEY = "sk-can/ary+of==ann/0123456789"
FORGED = "\n2026-11-29 CRITICAL backend.keys: keys.removed user=admin \x1b]0;title\x07\u202e"
SAID = {
    "plain": f"m {KEY}{FORGED}",
    "slashes": f"m {KEY}{FORGED}".replace("/", "\\/"),
    "long": f"m{FORGED * 40} {KEY}",
}


class Verdict(BaseModel):
    """What no answer here is."""

    fine: bool


# What the provider says --------------------------------------------------------------------------------------------


def chat(model: str = "m", reason: str = "stop", *, streams: bool) -> list[dict[str, Any]]:
    choice = {"role": "assistant", "content": "fine"}
    kind = "chat.completion.chunk" if streams else "chat.completion"
    return [
        {
            "id": "1",
            "object": kind,
            "created": 1,
            "model": model,
            "system_fingerprint": model,
            "service_tier": model,
            "choices": [
                {"index": 0, "finish_reason": reason, "delta" if streams else "message": choice},
            ],
        }
    ]


def response(model: str = "m", reason: str | None = None, *, streams: bool) -> list[dict[str, Any]]:
    text = {"type": "output_text", "text": "fine", "annotations": []}
    item = {"type": "message", "id": "i", "status": "completed", "role": "assistant", "content": [text]}
    whole = {
        "id": "1",
        "object": "response",
        "created_at": 1,
        "model": model,
        "service_tier": model,
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "output": [item],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    if not streams:
        return [whole]
    place = {"item_id": "i", "output_index": 0, "content_index": 0, "logprobs": []}
    return [
        {"type": "response.output_text.delta", "sequence_number": 1, "delta": "fine", **place},
        {"type": "response.completed", "sequence_number": 2, "response": whole},
    ]


def gemini(model: str = "m", reason: str = "STOP") -> list[dict[str, Any]]:
    part = {"content": {"parts": [{"text": "fine"}], "role": "model"}, "finishReason": reason}
    rating = {"category": reason, "probability": reason}
    return [{"modelVersion": model, "candidates": [{**part, "safetyRatings": [rating]}]}]


def blocked(reason: str, message: str = "") -> list[dict[str, Any]]:
    return [{"promptFeedback": {"blockReason": reason, "blockReasonMessage": message}}]


def message(model: str = "m", reason: str = "end_turn", *, streams: bool) -> list[dict[str, Any]]:
    usage = {"input_tokens": 1, "output_tokens": 1, "service_tier": model}
    whole = {"type": "message", "id": "1", "role": "assistant", "model": model, "usage": usage}
    if not streams:
        return [{**whole, "content": [{"type": "text", "text": "fine"}], "stop_reason": reason}]
    return [
        {"type": "message_start", "message": {**whole, "content": []}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "fine"}},
        {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage},
        {"type": "message_stop"},
    ]


def documents(wire: str, *, streams: bool, **said: str) -> list[dict[str, Any]]:
    match wire:
        case "openai":
            return chat(**said, streams=streams)
        case "responses":
            return response(**said, streams=streams)
        case "anthropic":
            return message(**said, streams=streams)
        case _:
            return gemini(**said)


def reply(told: list[dict[str, Any]], *, streams: bool) -> Reply:
    if not streams:
        return 200, {"Content-Type": "application/json", "x-request-id": KEY}, [json.dumps(told[0]).encode()]
    events = [f"data: {json.dumps(one)}\n\n".encode() for one in told]
    return 200, {"Content-Type": "text/event-stream", "x-request-id": KEY}, events


# Who hears it ------------------------------------------------------------------------------------------------------


class Heard(NamedTuple):
    """All that those who run the house get to see of one call."""

    lines: list[str]
    warnings: list[str]
    attempts: list[Attempt]
    error: LLMError | None
    answer: AIMessage | None

    def texts(self) -> Iterator[str]:
        yield from self.lines
        yield from self.warnings
        for attempt in self.attempts:
            yield from filter(None, [attempt.served_model])
        if self.error is not None:
            yield from (f"{self.error}", json.dumps(self.error.as_dict(), ensure_ascii=False))
        if self.answer is not None:
            yield from _strings(self.answer.response_metadata)

    def pickled(self) -> bytes:
        return pickle.dumps(self.error)


def _strings(told: Any) -> Iterator[str]:
    match told:
        case str():
            yield told
        case dict():
            for name, one in told.items():
                yield from (name, *_strings(one))
        case list():
            for one in told:
                yield from _strings(one)
        case _:
            pass


@pytest.fixture
def attempts() -> list[Attempt]:
    return []


def made(server: Stranger, wire: str, attempts: list[Attempt]) -> Patchbay:
    return Patchbay(
        Table(text=table_at(server, wire, model="asked"), environ=HOUSE_KEYS),
        observer=lambda _, attempt: attempts.append(attempt),
    )


@pytest.fixture
def patchbay(server: Stranger, wire: str, attempts: list[Attempt]) -> Iterator[Patchbay]:
    """Its feature ``f`` is asked of ``server``."""
    patchbay = made(server, wire, attempts)
    patchbay.warm_up()
    yield patchbay
    patchbay.close()


@pytest.fixture
def hear(
    patchbay: Patchbay, attempts: list[Attempt], caplog: pytest.LogCaptureFixture
) -> Callable[..., Heard]:
    """Calls with the key, and gives what there was to hear."""

    def call_and_hear(call: Driver, *, schema: type[BaseModel] | None = None) -> Heard:
        caplog.clear()
        model: Any = patchbay.get_llm("f")
        if schema is not None:
            model = model.with_structured_output(schema)
        with (
            caplog.at_level(logging.DEBUG),
            warnings.catch_warnings(record=True) as warned,
            use_caller(Caller(keys=dict.fromkeys(("there", "openai", "gemini", "anthropic"), KEY))),
        ):
            warnings.simplefilter("always")
            error = answer = None
            try:
                answer = call(model, "hi")
            except LLMError as caught:
                error = caught
        lines = [record.getMessage() for record in caplog.records if not record.name.startswith("asyncio")]
        return Heard(lines, [str(one.message) for one in warned], list(attempts), error, answer)

    return call_and_hear


def streams(call: Driver) -> bool:
    return call.__name__ in {"stream", "astream"}


def assert_clean(heard: Heard, said: str) -> None:
    for text in heard.texts():
        assert KEY not in text
        assert said not in text
        assert text == escape_control_characters(text)
    assert KEY.encode() not in heard.pickled()
    assert all(len(attempt.served_model or "") <= LONGEST for attempt in heard.attempts)


# The rules ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", SAID)
def test_the_model_that_served(
    hear: Callable[..., Heard], server: Stranger, wire: str, call: Driver, how: str
) -> None:
    told = documents(wire, model=SAID[how], streams=streams(call))
    server.reply = reply(told, streams=streams(call))

    heard = hear(call)

    assert heard.answer is not None
    assert heard.answer.text == "fine"
    assert sum(line.startswith("there:asked was served as ") for line in heard.lines) == 1
    assert_clean(heard, SAID[how])


def test_the_reason_why_it_ended(
    hear: Callable[..., Heard], server: Stranger, wire: str, call: Driver
) -> None:
    told = documents(wire, reason=SAID["plain"], streams=streams(call))
    server.reply = reply(told, streams=streams(call))

    heard = hear(call)

    assert [attempt.category for attempt in heard.attempts] == ["unknown_reason"]
    assert heard.warnings == []
    assert_clean(heard, SAID["plain"])


@pytest.mark.parametrize("wire", ["gemini"], indirect=True)
@pytest.mark.parametrize(
    "told", [blocked(SAID["plain"]), blocked("OTHER", SAID["plain"])], ids=["reason", "message"]
)
def test_why_the_prompt_was_blocked(
    hear: Callable[..., Heard], server: Stranger, call: Driver, told: list[dict[str, Any]]
) -> None:
    server.reply = reply(told, streams=streams(call))

    heard = hear(call)

    assert isinstance(heard.error, RefusedError)
    assert heard.warnings == []
    assert_clean(heard, SAID["plain"])


@pytest.mark.parametrize("how", SAID)
def test_the_model_of_a_structured_answer_that_does_not_fit(
    hear: Callable[..., Heard], server: Stranger, wire: str, call: Driver, how: str
) -> None:
    # A structured answer is asked for whole, whoever streams it.
    server.reply = reply(documents(wire, model=SAID[how], streams=False), streams=False)

    heard = hear(call, schema=Verdict)

    assert isinstance(heard.error, InvalidOutputError)
    assert heard.error.attempts[0].served_model
    assert_clean(heard, SAID[how])


def test_a_stack_of_an_error_has_no_line_and_no_escape_of_the_providers(
    hear: Callable[..., Heard], server: Stranger, call: Driver
) -> None:
    told = {"error": {"message": f"bad {FORGED}", "type": FORGED, "code": 400}}
    server.reply = 400, {"Content-Type": "application/json"}, [json.dumps(told).encode()]

    error = hear(call).error

    assert error is not None
    stack = "".join(traceback.format_exception(error))
    assert "bad " in stack
    assert not any(line.startswith("2026-11-29") for line in stack.splitlines())
    assert stack == escape_control_characters(stack, keep="\n")


def test_another_user_of_geminis_library_is_warned_as_before() -> None:
    from google.genai.types import FinishReason

    with pytest.warns(UserWarning, match="is not a valid FinishReason"):
        FinishReason("NEVER_HEARD_OF")


class TestSubstitutes:
    """Who served in another's place is told once."""

    def test_each_once(self) -> None:
        told = LoggedSubstituteModels()

        assert [told.should_log("e:asked", model) for model in ("a", "a", "b", "a")] == [
            True,
            False,
            True,
            False,
        ]
        assert told.should_log("e:other", "a")

    def test_a_provider_that_names_another_in_each_answer_fills_nothing(self) -> None:
        told = LoggedSubstituteModels()

        assert sum(told.should_log("e:asked", str(number)) for number in range(1000)) == MOST_SUBSTITUTES
