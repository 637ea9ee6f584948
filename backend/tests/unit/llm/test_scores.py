"""A test of the answer may say how good it is; what is not good enough is rejected, and may still be the best there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from backend.utils.llm.errors import AllAttemptsFailedError, InvalidOutputError
from backend.utils.llm.testing import Json, Status, Text

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

    from backend.utils.llm.testing import LoopbackProvider

    from .conftest import Make
    from .drivers import Driver

CHEAP, DEAR = "openai:gpt-6-luna", "openai:gpt-6.1-terra"
BEST = '[features.f]\non_invalid_output = "best"\nselect = "cost"'


def quality(message: AIMessage) -> float:
    """What the answer says of itself."""
    return float(message.text)


def receipt(answer: AIMessage) -> dict[str, Any]:
    found: dict[str, Any] = answer.response_metadata["receipt"]
    return found


def test_a_figure_that_is_high_enough_accepts(provider: LoopbackProvider, make: Make, call: Driver) -> None:
    provider.always(Text("0.9"))

    answer = call(make(CHEAP).get_llm("f").bind(accept=quality), "how good?")

    (attempt,) = receipt(answer)["attempts"]
    assert (answer.text, attempt["score"], receipt(answer)["accepted"]) == ("0.9", 0.9, True)


def test_a_low_score_rejects_and_the_next_rung_is_asked_at_once(
    provider: LoopbackProvider, make: Make, call: Driver
) -> None:
    provider.always(Text("0.5"), model="gpt-6-luna")
    provider.always(Text("0.9"), model="gpt-6.1-terra")

    answer = call(make([CHEAP, DEAR], '[features.f]\nselect = "cost"').get_llm("f").bind(accept=quality), "?")

    told = [(one["endpoint"], one["outcome"], one["score"]) for one in receipt(answer)["attempts"]]
    assert told == [(CHEAP, "rejected", 0.5), (DEAR, "ok", 0.9)]
    assert all(one["cost_usd"] is not None for one in receipt(answer)["attempts"])


def test_how_much_is_enough_is_for_the_table_to_say(
    provider: LoopbackProvider, make: Make, call: Driver
) -> None:
    provider.always(Text("0.5"))
    row = '[features.f]\nselect = { by = "cost", enough = 0.4 }'

    assert call(make([CHEAP, DEAR], row).get_llm("f").bind(accept=quality), "?").text == "0.5"


def test_when_all_are_rejected_the_call_fails_by_default(
    provider: LoopbackProvider, make: Make, call: Driver
) -> None:
    provider.always(Text("0.5"))

    with pytest.raises(AllAttemptsFailedError) as caught:
        call(make([CHEAP, DEAR]).get_llm("f").bind(accept=quality), "?")

    assert {attempt.score for attempt in caught.value.attempts} == {0.5}


class TestTheBestOfTheRejected:
    def test_is_handed_on_and_marked_if_the_feature_settles_for_it(
        self, provider: LoopbackProvider, make: Make, call: Driver
    ) -> None:
        provider.always(Text("0.7"), model="gpt-6-luna")
        provider.script(Text("0.2"), Text("0.3"), model="gpt-6.1-terra")

        answer = call(make([CHEAP, DEAR], BEST).get_llm("f").bind(accept=quality), "?")

        told = receipt(answer)
        assert (answer.text, told["endpoint"]) == ("0.7", CHEAP)
        assert (told["accepted"], told["degraded"]) == (False, True)
        assert len(told["attempts"]) == 3

    def test_is_handed_on_too_when_what_came_after_it_was_down(
        self, provider: LoopbackProvider, make: Make, call: Driver
    ) -> None:
        provider.always(Text("0.7"), model="gpt-6-luna")
        provider.always(Status(503), model="gpt-6.1-terra")

        assert call(make([CHEAP, DEAR], BEST).get_llm("f").bind(accept=quality), "?").text == "0.7"

    def test_needs_a_score_one_that_was_simply_rejected_is_not_handed_on(
        self, provider: LoopbackProvider, make: Make, call: Driver
    ) -> None:
        with pytest.raises(InvalidOutputError):
            call(make(CHEAP, BEST).get_llm("f").bind(accept=lambda _: False), "?")

    def test_comes_as_an_object_where_there_is_a_schema(self, provider: LoopbackProvider, make: Make) -> None:
        class Answer(BaseModel):
            mark: float

        provider.always(Json({"mark": 0.6}))
        model = make(CHEAP, BEST).get_llm("f")

        found = model.with_structured_output(Answer, accept=lambda answer: answer.mark).invoke("?")

        assert found == Answer(mark=0.6)


class TestScoresThatComeLater:
    """A user's thumb comes when the answer is long out."""

    ROW = '[features.f]\nselect = { by = "cost", least = 3, explore = 0.01 }'

    def test_an_endpoint_whose_answers_were_not_good_enough_is_no_longer_started_with(
        self, provider: LoopbackProvider, make: Make, call: Driver
    ) -> None:
        patchbay = make([CHEAP, DEAR], self.ROW)
        served = []
        for _ in range(4):
            told = receipt(call(patchbay.get_llm("f"), "?"))
            served.append(told["endpoint"])
            assert patchbay.rate(told, 0.5)

        assert served == [CHEAP, CHEAP, CHEAP, DEAR]

    def test_a_score_that_nothing_uses_is_not_taken(self, make: Make, call: Driver) -> None:
        patchbay = make([CHEAP, DEAR])

        assert not patchbay.rate(receipt(call(patchbay.get_llm("f"), "?")), 1.0)

    @pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
    def test_a_score_is_from_0_to_1(self, make: Make, score: float) -> None:
        with pytest.raises(ValueError, match="from 0 to 1"):
            make(CHEAP).rate({}, score)
