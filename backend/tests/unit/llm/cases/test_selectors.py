"""Selectors that an application writes itself: asked before every attempt, obeyed if they say what they may."""

from __future__ import annotations

import functools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from backend.utils.llm.caller import Caller
from backend.utils.llm.errors import ConfigError, LLMError, SelectionStoppedError, SelectorError
from backend.utils.llm.options import Options
from backend.utils.llm.routing.selector import Choosing, Pause, Stop, Use, in_order
from backend.utils.llm.testing import Empty, Status, Text

from ..drivers import ainvoke, astream
from ..samples import receipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.utils.llm.routing.route import Candidate
    from backend.utils.llm.testing import LoopbackProvider, Reply

    from ..conftest import Make
    from ..drivers import Driver
    from .conftest import Lab

P, S, T = "openai:p", "openai:s", "gemini:t"
SELECT = 'select = { by = "custom", name = "ours" }'
DOWN, BUSY = Status(503), Status(429)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def runs_by(lab: Lab, selector: Any, *endpoints: str, row: str = "", **settings: Any) -> None:
    """The feature's endpoints are chosen by ``selector``."""
    lab.runs_on(*(endpoints or (P, S)), row=f"{row}\n{SELECT}", selectors={"ours": selector}, **settings)


def last(choosing: Choosing) -> Candidate:
    return choosing.candidates[-1]


async def last_of_all(choosing: Choosing) -> Candidate:
    return choosing.candidates[-1]


def at(place: int, choosing: Choosing) -> Candidate:
    return choosing.candidates[place]


class Last:
    """Can be called."""

    def __call__(self, choosing: Choosing) -> Candidate:
        return choosing.candidates[-1]


class LastOfAll:
    """Can be called and awaited."""

    async def __call__(self, choosing: Choosing) -> Candidate:
        return choosing.candidates[-1]


class Notebook:
    """Chooses in order, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Choosing] = []

    def __call__(self, choosing: Choosing) -> Candidate:
        self.asked.append(choosing)
        return choosing.candidates[0]


class TestKinds:
    """Any callable will do."""

    @pytest.mark.parametrize(
        "selector", [last, functools.partial(at, -1), Last()], ids=["function", "partial", "object"]
    )
    def test_a_synchronous_one_serves_every_driver(
        self, lab: Lab, call: Driver, selector: Callable[[Choosing], Candidate]
    ) -> None:
        runs_by(lab, selector)

        lab.ask(call)

        assert lab.asked == ["s"]

    @pytest.mark.parametrize(
        "selector",
        [last_of_all, functools.partial(last_of_all), LastOfAll()],
        ids=["function", "partial", "object"],
    )
    @pytest.mark.parametrize("acall", [ainvoke, astream], ids=lambda driver: driver.__name__)
    def test_an_asynchronous_one_serves_asynchronous_calls(
        self, lab: Lab, acall: Driver, selector: Any
    ) -> None:
        runs_by(lab, selector)

        lab.ask(acall)

        assert lab.asked == ["s"]

    def test_in_a_synchronous_call_an_asynchronous_one_is_an_error(self, lab: Lab) -> None:
        runs_by(lab, last_of_all)

        with pytest.raises(SelectorError) as caught:
            lab.patchbay.get_llm("f").invoke("hi")

        assert "ainvoke and astream only" in str(caught.value.__cause__)
        assert lab.asked == []

    def test_a_table_that_names_an_unregistered_selector_is_refused(self, lab: Lab) -> None:
        with pytest.raises(ConfigError, match="'ours'"):
            lab.runs_on(P, row=SELECT)


class TestQuestions:
    """What a selector is told."""

    def test_the_selector_is_asked_before_every_attempt_and_sees_those_before(
        self, lab: Lab, call: Driver
    ) -> None:
        notebook = Notebook()
        runs_by(lab, notebook)
        lab.answers("p", DOWN, Status(408), "p")

        lab.ask(call)

        told = [
            tuple(attempt.category and attempt.category.value for attempt in asked.attempts)
            for asked in notebook.asked
        ]
        assert list(dict.fromkeys(told)) == [(), ("server",), ("server", "timeout")]

    def test_it_is_asked_once_for_each_attempt_though_there_be_a_pause_before_it(
        self, lab: Lab, call: Driver
    ) -> None:
        notebook = Notebook()
        runs_by(lab, notebook)
        lab.answers("p", DOWN, "p")

        lab.ask(call)

        assert lab.time.slept == [0.25]
        assert [len(asked.attempts) for asked in notebook.asked] == [0, 1]

    def test_attempts_have_a_start_and_a_duration(self, lab: Lab, call: Driver) -> None:
        notebook = Notebook()
        runs_by(lab, notebook, row="attempts = 2")
        lab.answers("p", DOWN)

        lab.ask(call)

        first, second = notebook.asked[-1].attempts
        assert (first.started, second.started) == (NOON, NOON + timedelta(seconds=0.25))
        assert isinstance(first.duration, timedelta)

    def test_the_selector_sees_the_caller_without_keys(self, lab: Lab, call: Driver) -> None:
        notebook = Notebook()
        runs_by(lab, notebook)

        lab.ask(call, caller=Caller(user_id="ann", tier="pro", keys={"openai": SecretStr("ann-s-key")}))

        (asked,) = notebook.asked
        assert (asked.caller.user_id, asked.caller.tier, asked.caller.effective_key_policy) == (
            "ann",
            "pro",
            "byok_only",
        )
        assert asked.caller.keys == {}
        assert "ann-s-key" not in repr(asked)
        assert lab.accounts == ["ann-s-key"]

    def test_the_selector_sees_the_request_and_the_time_that_is_left(self, lab: Lab, call: Driver) -> None:
        notebook = Notebook()
        runs_by(lab, notebook, row="deadline = 20\nmax_attempts = 5")
        lab.answers("p", Status(503, retry_after=2), "p")

        lab.ask(call, "what is it?")

        first, *_, again = notebook.asked
        assert first.feature == "f"
        assert [message.text for message in first.messages] == ["what is it?"]
        assert first.needs.tokens == 2
        assert first.seconds_left == 20
        assert (first.attempts_left, again.attempts_left) == (5, 4)

    def test_the_selector_sees_unavailable_endpoints_beside_the_candidates(
        self, lab: Lab, call: Driver
    ) -> None:
        notebook = Notebook()
        runs_by(lab, notebook, row="attempts = 1")
        lab.answers("p", BUSY)
        lab.ask(call)

        lab.ask(call)

        asked = notebook.asked[-1]
        assert [candidate.display_name for candidate in asked.candidates] == [S]
        assert [(name, rest.seconds) for name, rest in asked.resting.items()] == [(P, 30)]


class TestSayings:
    """What it may say."""

    def test_it_may_say_use_with_options(self, lab: Lab, call: Driver) -> None:
        runs_by(
            lab, lambda choosing: Use(choosing.candidates[1], Options(seed=7)), row="options = { seed = 1 }"
        )

        lab.ask(call)

        (request,) = lab.provider.requests
        assert (request.model, request.body["seed"]) == ("s", 7)

    def test_it_may_pause(self, lab: Lab, call: Driver) -> None:
        def patient(choosing: Choosing) -> Any:
            return choosing.candidates[0] if choosing.seconds_left <= 90 else Pause(10)

        runs_by(lab, patient)

        lab.ask(call)

        assert lab.time.slept == [10, 10, 10]

    def test_a_pause_ends_with_the_deadline(self, lab: Lab, call: Driver) -> None:
        runs_by(lab, lambda _: Pause(1000), row="deadline = 20")

        with pytest.raises(LLMError, match="deadline"):
            lab.ask(call)

        assert lab.time.slept == [20]
        assert lab.asked == []

    def test_it_may_stop_and_say_why(self, lab: Lab, call: Driver) -> None:
        runs_by(lab, lambda choosing: Stop("once is enough") if choosing.attempts else choosing.candidates[0])
        lab.answers("p", DOWN)

        with pytest.raises(SelectionStoppedError) as caught:
            lab.ask(call)

        assert caught.value.reason == "once is enough"
        assert [attempt.endpoint for attempt in caught.value.attempts] == [P]
        assert lab.asked == ["p"]

    def test_it_may_prefer_another_after_a_failure(self, lab: Lab, call: Driver) -> None:
        def never_twice(choosing: Choosing) -> Candidate:
            tried = {attempt.endpoint for attempt in choosing.attempts}
            return next(
                candidate for candidate in choosing.candidates if str(candidate.endpoint) not in tried
            )

        runs_by(lab, never_twice, P, S, T)
        lab.answers("p", DOWN)
        lab.answers("s", DOWN)

        lab.ask(call)

        assert lab.asked == ["p", "s", "t"]
        assert lab.time.slept == []

    def test_what_is_second_best_is_still_the_table_s_to_say(self, lab: Lab, call: Driver) -> None:
        runs_by(lab, last)

        assert receipt(lab.ask(call))["degraded"]


class TestMistakes:
    """What it may not say ends the call loudly."""

    @pytest.mark.parametrize("choice", [None, P, 7, ()], ids=["nothing", "a name", "a number", "a tuple"])
    def test_what_is_no_choice_is_an_error(self, lab: Lab, call: Driver, choice: object) -> None:
        runs_by(lab, lambda _: choice)

        with pytest.raises(SelectorError, match="'ours'"):
            lab.ask(call)

        assert lab.asked == []

    def test_a_candidate_of_another_feature_is_an_error(self, lab: Lab, call: Driver) -> None:
        def strays(_: Choosing) -> Candidate:
            return lab.patchbay.explain("g").candidates[0]

        runs_by(lab, strays, more=f'[features.g]\npin = "{T}"')

        with pytest.raises(SelectorError, match=f"chose {T}, which is none of the candidates"):
            lab.ask(call)

        assert lab.asked == []

    def test_a_candidate_that_the_selector_made_itself_is_an_error(self, lab: Lab, call: Driver) -> None:
        runs_by(lab, lambda choosing: replace(choosing.candidates[0], owner="user"))

        with pytest.raises(SelectorError, match="none of the candidates"):
            lab.ask(call)

        assert lab.asked == []

    def test_a_candidate_that_may_not_be_asked_again_is_an_error(self, lab: Lab, call: Driver) -> None:
        kept: list[Candidate] = []

        def insists(choosing: Choosing) -> Candidate:
            kept.append(choosing.candidates[0])
            return kept[0]

        runs_by(lab, insists, row="attempts = 1")
        lab.answers("p", DOWN)

        with pytest.raises(SelectorError, match=f"chose {P}"):
            lab.ask(call)

        assert lab.asked == ["p"]

    def test_options_that_the_endpoint_does_not_take_are_an_error(self, lab: Lab, call: Driver) -> None:
        runs_by(lab, lambda choosing: Use(choosing.candidates[0], Options(thinking_budget=5)))

        with pytest.raises(SelectorError, match="thinking_budget"):
            lab.ask(call)

        assert lab.asked == []

    def test_one_that_pauses_for_no_time_for_ever_is_stopped(self, lab: Lab, call: Driver) -> None:
        runs_by(lab, lambda _: Pause(0))

        with pytest.raises(SelectorError, match="came to no end"):
            lab.ask(call)

        assert lab.asked == []

    def test_one_that_raises_is_the_cause(self, lab: Lab, call: Driver) -> None:
        def broken(choosing: Choosing) -> Candidate:
            raise KeyError(choosing.feature)

        runs_by(lab, broken)

        with pytest.raises(SelectorError, match="KeyError") as caught:
            lab.ask(call)

        assert isinstance(caught.value.__cause__, KeyError)
        assert lab.asked == []

    def test_one_that_raises_later_leaves_the_attempts_on_record(self, lab: Lab, call: Driver) -> None:
        def once(choosing: Choosing) -> Candidate:
            return choosing.candidates[len(choosing.attempts) * 99]

        runs_by(lab, once)
        lab.answers("p", DOWN)

        with pytest.raises(SelectorError) as caught:
            lab.ask(call)

        assert [attempt.endpoint for attempt in caught.value.attempts] == [P]


FAULTS: dict[str, list[Reply]] = {
    "nothing": [Text("p")],
    "for a moment": [DOWN, Text("p")],
    "down": [DOWN],
    "empty": [Empty()],
    "busy": [BUSY],
    "busy for a little": [Status(429, retry_after=2), Text("p")],
    "busy for long": [Status(429, retry_after=60)],
    "no quota": [Status(429, error_code="insufficient_quota")],
    "key refused": [Status(401)],
    "no such model": [Status(404)],
    "cannot do it": [Status(400, error_code="unsupported_parameter")],
    "too long": [Status(400, error_code="context_length_exceeded")],
    "malformed": [Status(400)],
}


class TestInOrder:
    """``in_order`` is what the table's ``ordered`` does, whatever fails."""

    def course(self, lab: Lab, call: Driver, faults: list[Reply]) -> list[object]:
        """What two calls came to, and what they took."""
        lab.provider.clear()
        lab.asked  # noqa: B018 - only what comes now matters
        lab.answers("p", *faults)
        lab.time.slept.clear()
        course: list[object] = []
        for _ in range(2):
            try:
                course.append(lab.ask(call).text)
            except LLMError as error:
                course += [type(error), str(error), error.retry_after, len(error.attempts)]
        asked = [request.model for request in lab.provider.requests]
        return [*course, asked, list(lab.time.slept)]

    @pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
    def test_it_takes_the_same_course(self, lab: Lab, call: Driver, faults: list[Reply]) -> None:
        lab.runs_on(P, S, T)
        expected = self.course(lab, call, faults)

        runs_by(lab, in_order, P, S, T)

        assert self.course(lab, call, faults) == expected

    def test_it_takes_the_same_course_after_a_rejected_answer(self, lab: Lab, call: Driver) -> None:
        def fits(answer: Any) -> bool:
            return bool(answer.text == "s")

        asked = []
        for row, selectors in (("", {}), (SELECT, {"ours": in_order})):
            lab.runs_on(P, S, row=row, selectors=selectors)
            lab.answers("p", "p")
            lab.answers("s", "s")
            lab.ask(call, accept=fits)
            asked.append(lab.asked)

        assert asked == [["p", "p", "s"]] * 2


class TestObservers:
    """Whoever watches changes nothing."""

    def test_an_observer_that_raises_changes_nothing(self, lab: Lab, call: Driver) -> None:
        seen: list[str] = []

        def watches(_: object, attempt: Any) -> None:
            seen.append(attempt.outcome)
            raise RuntimeError("the observer is out")

        runs_by(lab, in_order, row="attempts = 1", observer=watches)
        lab.answers("p", DOWN)
        lab.answers("s", "s")

        assert lab.ask(call).text == "s"

        assert lab.asked == ["p", "s"]
        assert seen == ["failed", "ok"]


class TestOptionsThatItSets:
    """What a selector sets is held to what the table's own options are held to."""

    @pytest.mark.parametrize(
        ("row", "options", "why"),
        [
            ("", {"max_output_tokens": 10**9}, "answers with at most"),
            ("max_cost_usd = 0.001", {"max_output_tokens": 100_000}, "a call may cost"),
            ("", {"thinking_budget": 5}, "no such option"),
        ],
        ids=["longer than the model's answers", "dearer than a call may be", "not of this API"],
    )
    def test_are_refused_where_they_go_beyond(
        self,
        provider: LoopbackProvider,
        make: Make,
        call: Driver,
        row: str,
        options: dict[str, int],
        why: str,
    ) -> None:
        def greedy(choosing: Choosing) -> Use:
            return Use(choosing.candidates[0], Options(**options))

        select = (
            '[features.f]\nselect = { by = "custom", name = "greedy" }\noptions = { max_output_tokens = 9 }\n'
        )
        patchbay = make(["openai:gpt-6-luna"], select + row, selectors={"greedy": greedy})

        with pytest.raises(SelectorError, match=why):
            call(patchbay.get_llm("f"), "hello")

        assert not provider.requests
