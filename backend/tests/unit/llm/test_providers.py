"""Nothing that a provider says is lost between its wire and our answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from google.genai.types import BlockedReason, FinishReason

from backend.utils.llm.clients import get_llm
from backend.utils.llm.errors import (
    ProviderDownError,
    QuotaExceededError,
    RefusedError,
    StreamInterruptedError,
)
from backend.utils.llm.failures import FINISH_REASONS, FailureCategory, interpret_finish_reason
from backend.utils.llm.models import FAMILIES, Capabilities
from backend.utils.llm.providers import ChatClientCache
from backend.utils.llm.providers.stops import StopSequenceFilter
from backend.utils.llm.testing import LoopbackProvider, Raw, Refusal, StreamError, Text
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.transport import SigningTransport

from .samples import add

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.utils.llm.patchbay import Patchbay

    from .drivers import Driver


BLOCKS = {
    FinishReason.BLOCKLIST,
    FinishReason.ESCALATION,
    FinishReason.IMAGE_PROHIBITED_CONTENT,
    FinishReason.IMAGE_RECITATION,
    FinishReason.IMAGE_SAFETY,
    FinishReason.MODEL_ARMOR,
    FinishReason.PROHIBITED_CONTENT,
    FinishReason.RECITATION,
    FinishReason.SAFETY,
    FinishReason.SPII,
}
MODEL = {"modelVersion": "gemini-3.5-flash-lite"}


def gemini(call: Driver, *parts: dict[str, Any]) -> Raw:
    """What Gemini answers to a call by this driver: its parts in a stream, or the last of them alone."""
    if call.__name__ in {"stream", "astream"}:
        return Raw(
            200, "".join(f"data: {json.dumps(MODEL | part)}\n\n" for part in parts), "text/event-stream"
        )
    return Raw(200, json.dumps(MODEL | parts[-1]))


def candidate(finish: str | None = None, **part: Any) -> dict[str, Any]:
    content = {"content": {"role": "model", "parts": [part]}} if part else {}
    return {"candidates": [{"index": 0, "finishReason": finish, **content}]}


@pytest.mark.usefixtures("patchbay")
class TestRefusals:
    """A refusal is seen as one, whoever gives it and in whatever words."""

    def test_one_in_pieces_is_a_refusal_not_an_empty_answer(
        self, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(Refusal("I will not.", chunks=3))

        with pytest.raises(RefusedError):
            call(get_llm("over_openai"), "hi")

    @pytest.mark.parametrize("reason", sorted(BLOCKS))
    def test_each_of_geminis_blocks_is_one(
        self, call: Driver, provider: LoopbackProvider, reason: FinishReason
    ) -> None:
        provider.always(gemini(call, candidate(reason.value)))

        with pytest.raises(RefusedError):
            call(get_llm("over_gemini"), "hi")

    @pytest.mark.parametrize(
        "reason", sorted(set(BlockedReason) - {BlockedReason.BLOCKED_REASON_UNSPECIFIED})
    )
    def test_a_prompt_that_gemini_blocks_is_one(
        self, call: Driver, provider: LoopbackProvider, reason: BlockedReason
    ) -> None:
        provider.always(gemini(call, {"candidates": [], "promptFeedback": {"blockReason": reason.value}}))

        with pytest.raises(RefusedError):
            call(get_llm("over_gemini"), "hi")

    def test_no_candidate_and_no_reason_is_none(self, call: Driver, provider: LoopbackProvider) -> None:
        provider.always(gemini(call, {"candidates": []}))

        with pytest.raises(ProviderDownError):
            call(get_llm("over_gemini"), "hi")

    def test_every_reason_of_googles_is_known(self) -> None:
        known = {reason for reason in FinishReason if reason.lower() in FINISH_REASONS}

        assert known == set(FinishReason)
        assert {
            reason for reason in known if interpret_finish_reason(reason).category is FailureCategory.REFUSAL
        } == BLOCKS

    def test_a_choice_beside_the_first_counts_in_a_stream(
        self, feature: str, stream: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(Text("fine so far", beside="content_filter"))

        with pytest.raises(StreamInterruptedError) as caught:
            stream(get_llm(feature), "hi")

        assert caught.value.partial == "fine so far"

    def test_a_harmless_choice_beside_the_first_changes_nothing(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(Text("fine so far", beside="stop"))

        message = call(get_llm(feature), "hi")

        assert message.text == "fine so far"
        assert message.response_metadata["finish_reason"] == "stop"

    def test_a_choice_beside_the_first_counts_in_a_whole_answer(
        self, feature: str, whole: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(Text("fine so far", beside="content_filter"))

        with pytest.raises(RefusedError):
            whole(get_llm(feature), "hi")


@pytest.mark.usefixtures("patchbay")
class TestEnds:
    """Why an answer ended is told once, in one set of names."""

    def test_a_repeated_reason_is_reported_once(self, stream: Driver, provider: LoopbackProvider) -> None:
        provider.always(gemini(stream, candidate("STOP", text="one "), candidate("STOP", text="two")))

        message = stream(get_llm("over_gemini"), "hi")

        assert message.text == "one two"
        assert message.response_metadata["finish_reason"] == "stop"
        assert message.response_metadata["model_name"] == "gemini-3.5-flash-lite"

    def test_a_call_before_the_last_part_is_the_reason(
        self, stream: Driver, provider: LoopbackProvider
    ) -> None:
        called = candidate(functionCall={"name": "add", "args": {"first": 1, "second": 2}})
        provider.always(gemini(stream, called, candidate("STOP", text="")))

        message = stream(get_llm("over_gemini").bind_tools([add]), "hi")

        assert message.response_metadata["finish_reason"] == "tool_calls"
        assert message.tool_calls[0]["args"] == {"first": 1, "second": 2}

    def test_an_error_behind_a_200_is_that_error(self, call: Driver, provider: LoopbackProvider) -> None:
        provider.always(StreamError(0, "", {"code": "insufficient_quota", "message": "No money left."}))

        with pytest.raises(QuotaExceededError):
            call(get_llm("over_openai"), "hi")


TELLERS = {"chat": "openai:teller", "responses": "openai:teller-2", "gemini": "gemini:teller"}


@pytest.fixture
def tellers(provider: LoopbackProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Patchbay]:
    """Endpoints of a family that tells log probabilities, one for each wire."""
    monkeypatch.setitem(FAMILIES, "teller", Capabilities(logprobs=True))
    made = loopback_patchbay(provider, TELLERS, '[models."openai:teller-2"]\napi_mode = "responses"')
    yield made
    made.close()


@pytest.mark.parametrize("feature", TELLERS)
class TestLogprobs:
    """How likely the tokens were is told in one shape."""

    def test_they_are_with_the_answer(
        self, tellers: Patchbay, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(Text("one two"))

        message = call(tellers.get_llm(feature).bind(logprobs=True), "hi")

        told = message.response_metadata["logprobs"]["content"]
        assert [(one["token"], one["logprob"], one["top_logprobs"]) for one in told] == [
            ("one ", -0.25, []),
            ("two", -0.25, []),
        ]

    def test_so_are_the_others_that_were_likely(
        self, tellers: Patchbay, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(Text("one"))

        message = call(tellers.get_llm(feature).bind(top_logprobs=1), "hi")

        (told,) = message.response_metadata["logprobs"]["content"]
        assert [(one["token"], one["logprob"]) for one in told["top_logprobs"]] == [("one", -0.25)]

    def test_log_probabilities_come_only_if_asked_for(
        self, tellers: Patchbay, feature: str, call: Driver
    ) -> None:
        assert not call(tellers.get_llm(feature), "hi").response_metadata.get("logprobs")


class TestStops:
    """A text ends before a stop sequence, however it is cut into pieces."""

    @pytest.mark.parametrize("size", [1, 2, 3, 50])
    @pytest.mark.parametrize(
        ("text", "kept"),
        [
            ("one END two", "one "),
            ("one EN two", "one EN two"),
            ("one E", "one E"),
            ("EEND", "E"),
            ("one HALT, END", "one "),
            ("", ""),
        ],
    )
    def test_in_pieces(self, text: str, kept: str, size: int) -> None:
        stops = StopSequenceFilter(["END", "HALT", ""])

        said = [stops.feed(text[at : at + size]) for at in range(0, len(text), size)]

        assert "".join(said) + stops.flush() == kept

    def test_without_sequences_nothing_is_held_back(self) -> None:
        assert [StopSequenceFilter().feed(piece) for piece in ("one ", "two")] == ["one ", "two"]


@pytest.mark.parametrize(
    ("row", "is_the_same"),
    [
        ('[models."openai:gpt-6.1-sol"]\nlimits = { requests = "5/minute" }', True),
        ('[models."openai:gpt-6.1-sol"]\noptions = { max_output_tokens = 99 }', True),
        ('[models."openai:gpt-6.1-sol"]\napi_mode = "responses"', False),
    ],
    ids=["limits", "options", "another API"],
)
def test_a_client_stays_as_long_as_what_it_is_built_from(
    provider: LoopbackProvider,
    row: str,
    is_the_same: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    chain = {"f": "openai:gpt-6.1-sol"}
    before, after = (
        loopback_patchbay(provider, chain, more).explain("f").candidates[0].endpoint for more in ("", row)
    )
    clients = ChatClientCache(SigningTransport())

    assert before != after
    assert (clients.get_client(before) is clients.get_client(after)) is is_the_same
    assert len(clients) == (1 if is_the_same else 2)
