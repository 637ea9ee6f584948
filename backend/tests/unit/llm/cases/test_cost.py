"""UC5: the cheapest that is good enough, one rung up when an answer is not, and never more than a call may cost."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from backend.utils.llm.errors import AllAttemptsFailedError, InvalidOutputError, NoEndpointError
from backend.utils.llm.routing.scores import find_cost_ladder_scopes
from backend.utils.llm.testing import Json, Status, Text

from ..drivers import ainvoke, invoke
from ..samples import Person, receipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import AIMessage

    from backend.utils.llm.testing import Reply

    from ..drivers import Driver
    from .conftest import Lab

CHEAP, MID, BIG = "openai:cheap", "openai:mid", "openai:big"
LUNA, ASTRA = "openai:gpt-6-luna", "openai:gpt-6-astra"
SELECT = 'select = "cost"'
ANN = Json({"name": "Ann", "age": 30})


def ladder(**settings: float) -> str:
    return f'select = {{ by = "cost", {", ".join(f"{name} = {value}" for name, value in settings.items())} }}'


def from_cheap_is_half_as_good(answer: AIMessage) -> float:
    return 0.5 if answer.text == "cheap" else 1.0


def is_from_above(answer: AIMessage) -> bool:
    return answer.text != "cheap"


def named(lab: Lab) -> None:
    """Each says its name."""
    for model in ("cheap", "mid", "big"):
        lab.answers(model, model)


def outcomes(message: AIMessage) -> list[tuple[str, str]]:
    return [(one["endpoint"].partition(":")[2], one["outcome"]) for one in receipt(message)["attempts"]]


class TestWithinACall:
    """5a, 5b: an answer that is not good enough is asked for one rung up."""

    @pytest.mark.parametrize(
        "test", [is_from_above, from_cheap_is_half_as_good], ids=["yes or no", "by score"]
    )
    def test_a_rejected_answer_is_asked_for_one_rung_up(
        self, lab: Lab, call: Driver, test: Callable[[AIMessage], Any]
    ) -> None:
        lab.runs_on(CHEAP, MID, BIG, row=SELECT)
        named(lab)

        answer = lab.ask(call, accept=test)

        assert answer.text == "mid"
        assert lab.asked == ["cheap", "mid"]
        assert outcomes(answer) == [("cheap", "rejected"), ("mid", "ok")]

    def test_a_score_of_enough_is_accepted_and_on_the_receipt(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(CHEAP, MID, row=ladder(enough=0.5))
        named(lab)

        answer = lab.ask(call, accept=from_cheap_is_half_as_good)

        assert answer.text == "cheap"
        assert receipt(answer)["attempts"][0]["score"] == 0.5

    @pytest.mark.parametrize(
        "bad",
        [Text('{"name": 7}'), Text("no JSON"), Text('{"name": "An', finish="length")],
        ids=["does not fit", "no JSON", "cut short"],
    )
    def test_an_answer_that_does_not_fit_the_schema_moves_up_the_ladder(
        self, lab: Lab, call: Driver, bad: Reply
    ) -> None:
        """Ours: on a ladder the next rung is the repair (docs/reference/attempts.md has one on the same endpoint)."""
        lab.runs_on(CHEAP, MID, row=SELECT)
        lab.answers("cheap", bad)
        lab.answers("mid", ANN)

        answer = lab.ask(call, response_format=Person)

        assert answer.additional_kwargs["parsed"] == Person(name="Ann", age=30)
        assert lab.asked == ["cheap", "mid"]

    def test_what_was_rejected_is_paid_for_and_says_so(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(LUNA, ASTRA, row=SELECT)
        lab.answers("gpt-6-luna", "cheap")
        lab.answers("gpt-6-astra", "big")

        told = receipt(lab.ask(call, accept=is_from_above))

        first, second = told["attempts"]
        assert first["usage"]["output"] > 0
        assert 0 < Decimal(first["cost_usd"]) < Decimal(second["cost_usd"])
        assert Decimal(told["cost_usd"]) == Decimal(first["cost_usd"]) + Decimal(second["cost_usd"])

    def test_if_all_are_rejected_the_last_answer_is_in_the_error(self, lab: Lab, call: Driver) -> None:
        """Ours raises, unless the table says "best"; only the last rung gets a repair."""
        lab.runs_on(CHEAP, MID, row=SELECT)
        named(lab)

        with pytest.raises(AllAttemptsFailedError) as caught:
            lab.ask(call, accept=lambda _: False)

        assert lab.asked == ["cheap", "mid", "mid"]
        assert caught.value.answer is not None
        assert caught.value.answer.text == "mid"
        assert {attempt.outcome for attempt in caught.value.attempts} == {"rejected"}

    def test_a_feature_may_settle_for_the_best_of_the_rejected(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(CHEAP, MID, row=f'{SELECT}\non_invalid_output = "best"')
        named(lab)
        scores = {"cheap": 0.6, "mid": 0.4}

        answer = lab.ask(call, accept=lambda answer: scores[answer.text])

        assert answer.text == "cheap"
        assert {one["outcome"] for one in receipt(answer)["attempts"]} == {"rejected"}


class TestAcrossCalls:
    """5c, 5e: what answers were worth decides where the next call starts."""

    def score_cheap(self, lab: Lab, call: Driver, times: int) -> None:
        for _ in range(times):
            lab.ask(call, accept=from_cheap_is_half_as_good)
        assert lab.asked == ["cheap", "mid"] * times

    def test_after_twenty_poor_scores_calls_start_one_rung_up(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(CHEAP, MID, row=SELECT)
        named(lab)
        self.score_cheap(lab, call, 20)

        assert lab.ask(call, accept=from_cheap_is_half_as_good).text == "mid"
        assert lab.asked == ["mid"]

    def test_calls_that_score_nothing_start_one_rung_up_too(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(CHEAP, MID, row=SELECT)
        named(lab)
        self.score_cheap(lab, call, 20)

        assert lab.ask(call).text == "mid"

    def test_with_fewer_scores_the_cheapest_is_unknown_and_is_tried(self, lab: Lab, call: Driver) -> None:
        """5e. Unknown is not perfect: one more score decides."""
        lab.runs_on(CHEAP, MID, row=ladder(least=4, explore=0.01))
        named(lab)
        self.score_cheap(lab, call, 3)

        for _ in range(2):
            lab.ask(call, accept=from_cheap_is_half_as_good)
        assert lab.asked == ["cheap", "mid", "mid"]

    def test_an_endpoint_that_failed_was_not_scored(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(CHEAP, MID, row=f"attempts = 1\n{ladder(least=1, explore=0.01)}")
        named(lab)
        lab.answers("cheap", Status(503), "cheap")

        lab.ask(call)
        lab.ask(call)

        assert lab.asked == ["cheap", "mid", "cheap"]

    def test_one_that_is_not_good_enough_is_tried_now_and_then(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(CHEAP, MID, row=ladder(least=2, explore=0.1))
        named(lab)
        self.score_cheap(lab, call, 2)

        for _ in range(30):
            lab.ask(call, accept=from_cheap_is_half_as_good)

        assert 2 <= lab.asked.count("cheap") <= 4

    def test_only_the_start_of_a_call_looks_around_then_it_climbs(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(CHEAP, MID, BIG, row=ladder(least=2, explore=0.1))
        named(lab)
        self.score_cheap(lab, call, 2)

        climbs = []
        for _ in range(20):
            lab.ask(call, accept=lambda answer: answer.text == "big")
            climbs.append(" ".join(lab.asked))

        assert set(climbs) <= {"mid big", "cheap mid big", "cheap big", "big"}
        assert any(climb.startswith("cheap") for climb in climbs)

    def test_if_none_is_good_enough_calls_start_at_the_top(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(CHEAP, MID, BIG, row=ladder(least=1, explore=0.01))
        named(lab)
        with pytest.raises(AllAttemptsFailedError):
            lab.ask(call, accept=lambda _: 0.5)
        assert lab.asked == ["cheap", "mid", "big", "big"]

        assert lab.ask(call).text == "big"

    def test_one_that_has_recovered_is_used_again(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(CHEAP, MID, row=ladder(least=2, explore=0.5))
        named(lab)
        self.score_cheap(lab, call, 2)

        for _ in range(12):
            lab.ask(call, accept=lambda _: True)
        lab.asked  # noqa: B018 - only what comes now matters
        for _ in range(4):
            lab.ask(call)

        assert lab.asked == ["cheap"] * 4

    def test_twenty_good_scores_bring_back_what_gave_a_hundred_poor_ones(
        self, lab: Lab, call: Driver
    ) -> None:
        lab.runs_on(CHEAP, MID, row=ladder(explore=0.5))
        named(lab)
        scores = lab.patchbay.health.traffic.quality_scores
        (scope,) = find_cost_ladder_scopes(lab.patchbay.table.snapshot, "f", "premium", CHEAP, "house")
        for score in [0.0] * 100 + [1.0] * 20:
            scores.record_score(scope, CHEAP, score)

        for _ in range(4):
            lab.ask(call)

        assert lab.asked == ["cheap"] * 4

    def test_after_an_hour_the_scores_are_forgotten(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(CHEAP, MID, row=SELECT)
        named(lab)
        self.score_cheap(lab, call, 20)

        lab.later(3601)

        assert lab.ask(call).text == "cheap"

    def test_scores_are_of_the_feature_not_of_the_model(self, lab: Lab, call: Driver) -> None:
        more = f'[features.g]\npin = ["{CHEAP}", "{MID}"]\n{SELECT}'
        lab.runs_on(CHEAP, MID, row=SELECT, more=more)
        named(lab)
        self.score_cheap(lab, call, 20)

        assert call(lab.patchbay.get_llm("g"), "hi").text == "cheap"


class TestCeiling:
    """5g: an endpoint whose answer could cost more than a call may is not used."""

    ROW = f"{SELECT}\nmax_cost_usd = 0.01\noptions = {{ max_output_tokens = 1000 }}"

    def test_an_upgrade_beyond_it_is_skipped(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(LUNA, ASTRA, row=self.ROW)

        with pytest.raises(InvalidOutputError):
            lab.ask(call, accept=lambda _: False)

        assert set(lab.asked) == {"gpt-6-luna"}

    def test_explain_says_what_it_could_cost(self, lab: Lab) -> None:
        lab.runs_on(LUNA, ASTRA, row=self.ROW)

        (skipped,) = lab.patchbay.explain("f").skipped

        assert (str(skipped.endpoint), skipped.code) == (ASTRA, "price")
        assert "could cost $" in skipped.reason

    def test_a_shorter_answer_may_make_it_affordable(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(LUNA, ASTRA, row=self.ROW)
        lab.answers("gpt-6-luna", "cheap")
        lab.answers("gpt-6-astra", "big")

        assert lab.ask(call, accept=is_from_above, max_output_tokens=10).text == "big"

    def test_a_longer_prompt_may_make_it_too_expensive(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(LUNA, row=self.ROW)

        with pytest.raises(NoEndpointError, match=r"could cost \$"):
            lab.ask(call, "word" * 200_000)

        assert lab.asked == []

    def test_an_unknown_price_is_not_within_the_bound(self, lab: Lab, call: Driver) -> None:
        lab.runs_on("openai:unheard-of", LUNA, row=self.ROW)

        lab.ask(call)

        assert lab.asked == ["gpt-6-luna"]


class TestStreams:
    """5h: nothing of an answer is handed on before it is accepted."""

    @pytest.fixture(params=["stream", "astream"])
    def pieces(self, request: pytest.FixtureRequest) -> Callable[[Any], list[str]]:
        """The texts of a stream's chunks, both ways."""

        async def acollect(model: Any) -> list[str]:
            return [chunk.text async for chunk in model.astream("hi")]

        if request.param == "stream":
            return lambda model: [chunk.text for chunk in model.stream("hi")]
        return lambda model: asyncio.run(acollect(model))

    def test_with_a_test_only_the_accepted_answer_is_handed_on(
        self, lab: Lab, pieces: Callable[[Any], list[str]]
    ) -> None:
        lab.runs_on(CHEAP, MID, row=SELECT)
        lab.answers("cheap", "one two three")
        lab.answers("mid", "four five six")

        chunks = pieces(lab.llm(accept=lambda answer: answer.text.startswith("four")))

        assert [chunk for chunk in chunks if chunk] == ["four five six"]

    def test_with_a_schema_too(self, lab: Lab, pieces: Callable[[Any], list[str]]) -> None:
        lab.runs_on(CHEAP, MID, row=SELECT)
        lab.answers("cheap", "one two three")
        lab.answers("mid", ANN)

        chunks = pieces(lab.llm(response_format=Person))

        assert len([chunk for chunk in chunks if chunk]) == 1
        assert "one" not in "".join(chunks)

    def test_with_neither_it_comes_as_it_is_written(
        self, lab: Lab, pieces: Callable[[Any], list[str]]
    ) -> None:
        lab.runs_on(CHEAP, MID, row=SELECT)
        lab.answers("cheap", "one two three")

        assert [chunk for chunk in pieces(lab.llm()) if chunk] == ["one ", "two ", "three"]


class TestJudges:
    """Who judges may be asynchronous, and may be wrong."""

    def test_a_judge_may_be_asynchronous(self, lab: Lab) -> None:
        async def judge(answer: AIMessage) -> float:
            return from_cheap_is_half_as_good(answer)

        lab.runs_on(CHEAP, MID, row=SELECT)
        named(lab)

        assert lab.ask(ainvoke, accept=judge).text == "mid"

    def test_a_judge_that_fails_says_nothing_about_the_answer(self, lab: Lab, call: Driver) -> None:
        def judge(_: AIMessage) -> float:
            raise RuntimeError("the judge is out")

        lab.runs_on(CHEAP, MID, row=ladder(least=1))
        named(lab)
        with pytest.raises(RuntimeError, match="the judge is out"):
            lab.ask(call, accept=judge)

        assert lab.ask(invoke).text == "cheap"
