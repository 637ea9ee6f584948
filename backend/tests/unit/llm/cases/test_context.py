"""UC4: what a prompt and its answer need decides how long a window serves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from backend.utils.llm.caller import Caller
from backend.utils.llm.errors import AllAttemptsFailedError, ContextTooLongError
from backend.utils.llm.routing.route import Needs
from backend.utils.llm.testing import Status

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from ..drivers import Driver
    from .conftest import Lab, Log

SMALL, LONG = "openai:small", "openai:long"
SELECT = 'select = "context"'
OVERFLOW = Status(400, error_code="context_length_exceeded")


def window(model: str, tokens: int) -> str:
    return f'[models."openai:{model}"]\ncontext_window = {tokens}\n'


WINDOWS = window("small", 1000) + window("long", 10_000)


def tokens(count: int) -> str:
    """A prompt of so many tokens, by our estimate of four characters each."""
    return "abc " * count


def history(count: int, each: int) -> list[BaseMessage]:
    """So many messages of ``each`` tokens."""
    return [(HumanMessage if place % 2 == 0 else AIMessage)(tokens(each)) for place in range(count)]


def look_up(name: str) -> str:
    """Look a name up."""
    return name


class TestEstimate:
    """4a, 4d: before anything is sent, by tokens and not by messages."""

    @pytest.mark.parametrize(("prompt", "model"), [(800, "small"), (801, "long"), (900, "long")])
    def test_the_answer_s_room_is_reserved(self, lab: Lab, call: Driver, prompt: int, model: str) -> None:
        lab.runs_on(SMALL, LONG, row=f"{SELECT}\noptions = {{ max_output_tokens = 200 }}", more=WINDOWS)

        lab.ask(call, tokens(prompt))

        assert lab.asked == [model]

    def test_what_a_single_call_reserves_counts_too(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(SMALL, LONG, row=SELECT, more=WINDOWS)

        lab.ask(call, tokens(900))
        lab.ask(call, tokens(900), max_output_tokens=200)

        assert lab.asked == ["small", "long"]

    def test_tools_count_too(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(SMALL, LONG, row=SELECT, more=WINDOWS)
        model = lab.patchbay.get_llm("f")

        call(model, tokens(980))
        call(model.bind_tools([look_up]), tokens(980))

        assert lab.asked == ["small", "long"]

    @pytest.mark.parametrize(("messages", "model"), [(history(60, 5), "small"), (history(3, 2000), "long")])
    def test_not_how_many_messages_but_how_long_they_are(
        self, lab: Lab, call: Driver, messages: list[BaseMessage], model: str
    ) -> None:
        lab.runs_on(SMALL, LONG, row=SELECT, more=WINDOWS)

        lab.ask(call, messages)

        assert lab.asked == [model]

    def test_a_table_may_prefer_the_long_one_earlier(self, lab: Lab, call: Driver) -> None:
        row = f'select = {{ by = "context", up_to = {{ "{SMALL}" = 500 }} }}'
        lab.runs_on(SMALL, LONG, row=row, more=WINDOWS)

        lab.ask(call, tokens(500))
        lab.ask(call, tokens(501))

        assert lab.asked == ["small", "long"]

    def test_what_is_longer_than_all_are_preferred_for_goes_to_the_longest(
        self, lab: Lab, call: Driver
    ) -> None:
        row = f'select = {{ by = "context", up_to = {{ "{SMALL}" = 100, "{LONG}" = 200 }} }}'
        lab.runs_on(SMALL, LONG, row=row, more=WINDOWS)

        lab.ask(call, tokens(500))

        assert lab.asked == ["long"]

    def test_an_answer_of_the_long_one_is_not_called_degraded(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(SMALL, LONG, row=SELECT, more=WINDOWS)

        answer = lab.ask(call, tokens(2000))

        assert not answer.response_metadata["receipt"]["degraded"]


class TestOverflow:
    """4b, 4c: the estimate was too low."""

    def test_a_prompt_that_does_not_fit_goes_up_at_once(self, lab: Lab, call: Driver, log: Log) -> None:
        lab.runs_on(SMALL, LONG, row=SELECT, more=WINDOWS)
        lab.answers("small", OVERFLOW)
        lab.answers("long", "long")

        assert lab.ask(call, tokens(700)).text == "long"

        assert lab.asked == ["small", "long"]
        assert lab.time.slept == []

    def test_the_small_one_is_not_blamed_for_it(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(SMALL, LONG, row=SELECT, more=WINDOWS)
        lab.answers("small", OVERFLOW, "small")
        lab.ask(call, tokens(700))

        assert lab.ask(call, tokens(700)).text == "small"

    def test_no_window_of_the_same_size_is_tried(self, lab: Lab, call: Driver, log: Log) -> None:
        more = WINDOWS + window("other", 1000)
        lab.runs_on(SMALL, "openai:other", LONG, row=SELECT, more=more)
        lab.answers("small", OVERFLOW)
        lab.answers("long", OVERFLOW)

        with pytest.raises(AllAttemptsFailedError) as caught:
            lab.ask(call, tokens(700))

        assert log(caught.value.attempts) == [("small", "context"), ("long", "context")]
        assert not caught.value.retryable

    def test_overflow_of_the_only_endpoint_that_was_asked_is_the_error(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(SMALL, LONG, row=SELECT, more=WINDOWS)
        lab.answers("long", OVERFLOW)

        with pytest.raises(ContextTooLongError):
            lab.ask(call, tokens(5000))

        assert lab.asked == ["long"]


class TestFailures:
    """4e: whatever fails, no window is tried that is too small."""

    def test_only_windows_that_are_long_enough_take_over(self, lab: Lab, call: Driver) -> None:
        more = WINDOWS + window("longer", 20_000)
        lab.runs_on(SMALL, LONG, "openai:longer", row=f"attempts = 1\n{SELECT}", more=more)
        lab.answers("long", Status(503))
        lab.answers("longer", Status(503))

        with pytest.raises(AllAttemptsFailedError):
            lab.ask(call, tokens(5000))

        assert lab.asked == ["long", "longer"]

    def test_a_small_one_that_fails_is_helped_out_by_the_long_one(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(SMALL, LONG, row=f"attempts = 1\n{SELECT}", more=WINDOWS)
        lab.answers("small", Status(503))
        lab.answers("long", "long")

        assert lab.ask(call, tokens(700)).text == "long"


class TestConversations:
    """A conversation that has climbed comes down only when there is room to spare."""

    ANN = Caller(conversation_id="ann's")

    def climb(self, lab: Lab, call: Driver, select: str = SELECT) -> None:
        lab.runs_on(SMALL, LONG, row=select, more=WINDOWS)
        lab.ask(call, tokens(1500), caller=self.ANN)
        assert lab.asked == ["long"]

    @pytest.mark.parametrize(("prompt", "model"), [(801, "long"), (800, "small")])
    def test_it_stays_up_until_the_prompt_fits_into_four_fifths_below(
        self, lab: Lab, call: Driver, prompt: int, model: str
    ) -> None:
        self.climb(lab, call)

        lab.ask(call, tokens(prompt), caller=self.ANN)

        assert lab.asked == [model]

    @pytest.mark.parametrize(("prompt", "model"), [(501, "long"), (500, "small")])
    def test_it_stays_up_until_the_prompt_fits_the_configured_share(
        self, lab: Lab, call: Driver, prompt: int, model: str
    ) -> None:
        self.climb(lab, call, 'select = { by = "context", back_at = 0.5 }')

        lab.ask(call, tokens(prompt), caller=self.ANN)

        assert lab.asked == [model]

    def test_once_it_is_down_it_stays_down(self, lab: Lab, call: Driver) -> None:
        self.climb(lab, call)

        for prompt in (700, 950):
            lab.ask(call, tokens(prompt), caller=self.ANN)

        assert lab.asked == ["small", "small"]

    @pytest.mark.parametrize("other", [Caller(conversation_id="bob's"), None], ids=["another's", "none"])
    def test_other_conversations_do_not_climb_with_it(
        self, lab: Lab, call: Driver, other: Caller | None
    ) -> None:
        self.climb(lab, call)

        lab.ask(call, tokens(900), caller=other)

        assert lab.asked == ["small"]

    def test_a_fault_below_does_not_make_it_climb(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(SMALL, LONG, row=f"attempts = 1\n{SELECT}", more=WINDOWS)
        lab.answers("small", Status(503), "small")

        for _ in range(2):
            lab.ask(call, tokens(900), caller=self.ANN)

        assert lab.asked == ["small", "long", "small"]

    def test_a_prompt_that_turns_out_too_long_makes_it_climb(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(SMALL, LONG, row=SELECT, more=WINDOWS)
        lab.answers("small", Status(400, error_code="context_length_exceeded"), "small")

        for _ in range(2):
            lab.ask(call, tokens(900), caller=self.ANN)

        assert lab.asked == ["small", "long", "long"]

    def test_explain_shows_where_it_stands(self, lab: Lab, call: Driver) -> None:
        self.climb(lab, call)

        route = lab.patchbay.explain("f", caller=self.ANN, needs=Needs(tokens=900))

        assert str(route.candidates[0].endpoint) == LONG
