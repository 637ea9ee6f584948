"""Nobody spends more than their budget, and nobody is refused who would not."""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import islice
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.tests.fakes.clock import Clock
from backend.tests.fakes.simulation import settle
from backend.utils.llm import Caller, Use
from backend.utils.llm.budgets import Budget, BudgetCounter, BudgetRow, BudgetWindow, next_reset_at
from backend.utils.llm.caller import qualify_user_id
from backend.utils.llm.clock import Time
from backend.utils.llm.errors import (
    BudgetExceededError,
    BudgetUnavailableError,
    CallTimeoutError,
    LLMError,
    ProviderDownError,
)
from backend.utils.llm.execution.loop import Dispatch
from backend.utils.llm.execution.observers import reservations
from backend.utils.llm.execution.observers.reservations import make_withdrawn_attempt
from backend.utils.llm.execution.reserving import LimitReserver
from backend.utils.llm.execution.steps import ReserveThenTry, Wait
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.options import Options
from backend.utils.llm.routing.route import Needs, RejectionCode
from backend.utils.llm.state.budget_store import BudgetStoreUnreachableError, MemoryBudgets
from backend.utils.llm.state.health import HealthTracker
from backend.utils.llm.state.tail_latency import ENOUGH
from backend.utils.llm.testing import Hang, SlowFirstByte, Status, Text, Trickle, Usage
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from backend.utils.llm import Choosing
    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.state.budget_store import Reservation
    from backend.utils.llm.testing import LoopbackProvider

    from .conftest import Make
    from .drivers import Driver

LUNA, TERRA, GEMINI = "openai:gpt-6-luna", "openai:gpt-6.1-terra", "gemini:gemini-3.5-flash-lite"
ANN = Caller(user_id="ann", tenant_id="acme", tier="free", key_policy="house_only")
BOB = Caller(user_id="bob", tenant_id="acme", key_policy="house_only")
SHORT = "[features.f]\nattempts = 1\noptions = { max_output_tokens = 20 }\n"
"""A request could use 20 tokens, and those of its prompt: of "hi" there are none."""
ROW = f'{SHORT}[budgets.b]\nper = "user"\ntokens = 100\nperiod = "month"\n'


def answer(tokens: int) -> Text:
    """One that used so many."""
    return Text("ok", usage=Usage(input_tokens=0, output_tokens=tokens))


def counter(patchbay: Patchbay, caller: Caller = ANN) -> BudgetCounter:
    """What the only counter of ``caller`` says."""
    (balance,) = patchbay.explain("f", caller=caller).budgets
    return balance.counter


def spend(provider: LoopbackProvider, patchbay: Patchbay, tokens: int, caller: Caller = ANN) -> None:
    provider.script(answer(tokens))
    patchbay.get_llm("f", caller=caller).invoke("hi")


class AwayBudgets(MemoryBudgets):
    """A store that nobody can ask."""

    def reserve(self, reservation: Reservation) -> Any:
        raise BudgetStoreUnreachableError(f"no answer to {len(reservation.charges)}")

    def counters(self, windows: Iterable[BudgetWindow]) -> Any:
        raise BudgetStoreUnreachableError(f"no answer to {len(list(windows))}")


def test_what_an_answer_used_is_counted_whoever_calls(
    provider: LoopbackProvider, make: Make, call: Driver
) -> None:
    patchbay = make(LUNA, ROW)
    provider.script(answer(7))

    call(patchbay.get_llm("f", caller=ANN), "hi")

    assert counter(patchbay) == BudgetCounter(spent=7)


def test_a_user_of_the_same_name_in_another_tenant_or_in_none_spends_nothing_of_it(
    provider: LoopbackProvider, make: Make, call: Driver
) -> None:
    patchbay = make(LUNA, ROW)
    spend(provider, patchbay, 81)
    others = [Caller(user_id="ann", tenant_id="globex"), Caller(user_id="ann"), Caller(user_id="acme::ann")]

    for other in others:
        provider.script(answer(7))
        call(patchbay.get_llm("f", caller=other), "hi")

    assert [counter(patchbay, caller).spent for caller in (ANN, *others)] == [81, 7, 7, 7]


@given(*[st.text("ab%:3A", max_size=5)] * 2, *[st.text("ab%:3A", min_size=1, max_size=5)] * 2)
def test_no_two_users_share_a_counter_whatever_they_and_their_tenants_are_called(
    tenant: str, other_tenant: str, user: str, other_user: str
) -> None:
    is_same = (tenant, user) == (other_tenant, other_user)

    assert (qualify_user_id(tenant, user) == qualify_user_id(other_tenant, other_user)) == is_same


@pytest.mark.parametrize("user", ["ann", "ann@acme.example", "auth0|1", "acme/ann", "a:b", "50%"])
def test_who_has_no_tenant_keeps_their_counter(user: str) -> None:
    assert qualify_user_id(None, user) == qualify_user_id("", user) == user


def test_who_would_spend_more_is_refused_before_anything_is_sent(
    provider: LoopbackProvider, make: Make, call: Driver
) -> None:
    patchbay = make(LUNA, ROW, time=VirtualTime().time)
    spend(provider, patchbay, 81)

    with pytest.raises(BudgetExceededError) as caught:
        call(patchbay.get_llm("f", caller=ANN), "hi")

    error = caught.value
    assert len(provider.requests) == 1
    assert (error.code, error.http_status, error.retryable) == ("budget_exceeded", 402, False)
    assert (error.budget, error.per, error.resets_at) == ("b", "user", datetime(2026, 12, 1, tzinfo=UTC))
    assert error.retry_after == 9.5 * 86_400
    assert "81" not in str(error)
    assert "ann" not in str(error)
    assert pickle.loads(pickle.dumps(error)).as_dict() == error.as_dict()  # noqa: S301 - our own


def test_a_request_that_just_fits_goes_out(provider: LoopbackProvider, make: Make, call: Driver) -> None:
    patchbay = make(LUNA, ROW)
    spend(provider, patchbay, 80)

    assert call(patchbay.get_llm("f", caller=ANN), "hi").text


def test_one_users_budget_is_nothing_to_another(provider: LoopbackProvider, make: Make) -> None:
    patchbay = make(LUNA, ROW)
    spend(provider, patchbay, 100)

    spend(provider, patchbay, 100, caller=BOB)

    assert counter(patchbay, BOB) == BudgetCounter(spent=100)


@pytest.mark.parametrize(
    ("per", "subject"), [("user", "acme::ann"), ("tenant", "acme"), ("feature", "f"), ("owner", "house")]
)
def test_a_budget_has_a_counter_for_each_of_those_it_is_for(
    provider: LoopbackProvider, make: Make, per: str, subject: str
) -> None:
    patchbay = make(LUNA, ROW.replace('"user"', f'"{per}"'))
    spend(provider, patchbay, 5)

    (balance,) = patchbay.explain("f", caller=ANN).budgets

    assert (balance.window.per, balance.window.subject, balance.counter.spent) == (per, subject, 5)


def test_a_budget_that_a_caller_brings_is_counted_without_one_in_the_table(
    provider: LoopbackProvider, make: Make, call: Driver
) -> None:
    patchbay = make(LUNA, SHORT)
    mine, other = (
        ANN.model_copy(update={"budgets": (Budget(name, "token", "tokens", 100, "day"),)})
        for name in ("t1", "t2")
    )
    spend(provider, patchbay, 81, caller=mine)

    with pytest.raises(BudgetExceededError) as caught:
        call(patchbay.get_llm("f", caller=mine), "hi")

    assert (caught.value.budget, caught.value.per) == ("t1", "token")
    assert counter(patchbay, mine) == BudgetCounter(spent=81)
    assert counter(patchbay, other) == BudgetCounter()
    spend(provider, patchbay, 81)


def test_nobodys_calls_count_for_no_user(provider: LoopbackProvider, make: Make) -> None:
    patchbay = make(LUNA, ROW)
    provider.always(answer(90))
    for _ in range(3):
        patchbay.get_llm("f").invoke("hi")

    assert patchbay.explain("f").budgets == ()


@pytest.mark.parametrize(("row", "spent"), [('tiers = ["pro"]', 0), ('tiers = ["free"]', 5), ("", 5)])
def test_a_budget_for_some_plans_is_nothing_to_others(
    provider: LoopbackProvider, make: Make, row: str, spent: int
) -> None:
    patchbay = make(LUNA, ROW + row)
    spend(provider, patchbay, 5)

    assert sum(budget.counter.spent for budget in patchbay.explain("f", caller=ANN).budgets) == spent


@pytest.mark.parametrize(("keys", "spent"), [("house", 0), ("user", 5), ("any", 5)])
def test_what_a_users_own_key_pays_is_not_the_houses_to_count(
    provider: LoopbackProvider, make: Make, keys: str, spent: int
) -> None:
    patchbay = make(LUNA, f'{ROW}keys = "{keys}"')
    byok = Caller(user_id="ann", keys={"openai": "sk-of-ann"})
    spend(provider, patchbay, 5, caller=byok)

    balances = patchbay.explain("f", caller=byok).budgets

    assert sum(balance.counter.spent for balance in balances) == spent


def test_dollars_are_counted_to_the_last_digit(provider: LoopbackProvider, make: Make) -> None:
    prices = f'[models."{LUNA}"]\nprice = {{ input = 0.1, output = 0.3 }}\n'
    patchbay = make(LUNA, SHORT + prices + '[budgets.b]\nper = "user"\nusd = 1\nperiod = "day"\n')
    spend(provider, patchbay, 7)

    (balance,) = patchbay.explain("f", caller=ANN).as_dict()["budgets"]

    assert (balance["spent"], balance["left"], balance["cap"]) == ("0.0000021", "0.9999979", "1")


def test_a_price_that_nobody_knows_fits_into_no_budget_in_dollars(make: Make) -> None:
    row = '[budgets.b]\nper = "user"\nusd = 1000\nperiod = "day"\n'
    patchbay = make("openai:some-model-of-nobody", row)

    (skip,) = patchbay.explain("f", caller=ANN).skipped

    assert skip.code is RejectionCode.PRICE
    assert "nobody knows what it costs" in skip.reason
    with pytest.raises(LLMError, match="nobody knows what it costs"):
        patchbay.get_llm("f", caller=ANN).invoke("hi")


@pytest.mark.parametrize("reply", [Status(503), Status(429), Status(400)])
def test_what_never_arrived_or_was_refused_costs_nothing(
    provider: LoopbackProvider, make: Make, call: Driver, reply: Status
) -> None:
    patchbay = make(LUNA, ROW)
    provider.script(reply)
    with suppress(LLMError):
        call(patchbay.get_llm("f", caller=ANN), "hi" * 20)

    assert counter(patchbay) == BudgetCounter()


def test_what_nothing_came_of_in_time_is_counted_by_its_prompt(
    provider: LoopbackProvider, make: Make, call: Driver
) -> None:
    patchbay = make(LUNA, ROW.replace("max_output_tokens = 20", "max_output_tokens = 20, timeout = 0.2"))
    provider.always(Hang())
    with pytest.raises(CallTimeoutError):
        call(patchbay.get_llm("f", caller=ANN), "hi" * 20)

    assert counter(patchbay) == BudgetCounter(spent=10)


def test_each_retry_is_counted(provider: LoopbackProvider, make: Make, call: Driver) -> None:
    patchbay = make(LUNA, ROW.replace("attempts = 1", "attempts = 3"), time=VirtualTime().time)
    provider.script(answer(5), Text("", usage=Usage(0, 3)), answer(5))
    patchbay.get_llm("f", caller=ANN).invoke("hi")
    call(patchbay.get_llm("f", caller=ANN), "hi")

    assert counter(patchbay) == BudgetCounter(spent=13)


def test_a_stream_that_is_left_is_counted_as_far_as_it_came(provider: LoopbackProvider, make: Make) -> None:
    patchbay = make(LUNA, ROW)
    provider.script(Trickle(Text("word " * 40), 0.01))

    stream = patchbay.get_llm("f", caller=ANN).stream("hi" * 10)
    next(stream)
    stream.close()  # type: ignore[attr-defined]

    assert counter(patchbay).reserved == 0
    assert 5 <= counter(patchbay).spent < 20


async def test_a_call_that_is_cancelled_gives_back_what_it_did_not_use(
    provider: LoopbackProvider, make: Make
) -> None:
    patchbay = make(LUNA, ROW)
    provider.always(Hang())
    task = asyncio.create_task(patchbay.get_llm("f", caller=ANN).ainvoke("hi" * 10))
    await asyncio.to_thread(provider.wait_until, lambda requests: len(requests) == 1)
    assert counter(patchbay) == BudgetCounter(reserved=25)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert counter(patchbay) == BudgetCounter(spent=5)


class SlowBudgets(MemoryBudgets):
    """A store that takes until it is let go, as one on a network may."""

    waits = True

    def __init__(self) -> None:
        super().__init__(lambda: 0.0)
        self.asked, self.go = threading.Event(), threading.Event()

    def reserve(self, reservation: Reservation) -> Any:
        self.asked.set()
        assert self.go.wait(10)
        return super().reserve(reservation)


async def test_an_event_loop_goes_on_while_a_store_takes_its_time(make: Make) -> None:
    store = SlowBudgets()
    call = asyncio.create_task(make(LUNA, ROW, budgets=store).get_llm("f", caller=ANN).ainvoke("hi"))
    await asyncio.to_thread(store.asked.wait)

    store.go.set()

    assert (await call).text


async def test_a_caller_without_a_budget_does_not_wait_for_a_store(make: Make) -> None:
    store = SlowBudgets()

    assert (await make(LUNA, ROW, budgets=store).get_llm("f").ainvoke("hi")).text
    assert not store.asked.is_set()


async def test_a_store_that_says_nothing_is_away(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservations, "PATIENCE_SECONDS", 0.05)
    store = SlowBudgets()
    patchbay = make(LUNA, ROW, budgets=store)

    with pytest.raises(BudgetUnavailableError):
        await patchbay.get_llm("f", caller=ANN).ainvoke("hi")

    store.go.set()


async def test_who_is_cancelled_while_a_store_takes_its_time_leaves_nothing_set_aside(
    provider: LoopbackProvider, make: Make
) -> None:
    store = SlowBudgets()
    patchbay = make(
        LUNA, ROW.replace("[budgets.b]", "limits = { concurrency = 1 }\n[budgets.b]"), budgets=store
    )
    call = asyncio.create_task(patchbay.get_llm("f", caller=ANN).ainvoke("hi"))
    await asyncio.to_thread(store.asked.wait)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    store.go.set()

    assert (await patchbay.get_llm("f", caller=ANN).ainvoke("hi")).text
    assert all(said.reserved == 0 for said in store.known().values())
    assert len(provider.requests) == 1


async def test_many_at_once_never_overspend_and_are_told_to_come_back(
    provider: LoopbackProvider, make: Make
) -> None:
    patchbay = make(LUNA, ROW)
    provider.always(Hang())
    model = patchbay.get_llm("f", caller=ANN)
    calls = [asyncio.create_task(model.ainvoke("hi")) for _ in range(20)]

    for over in islice(asyncio.as_completed(calls), 15):
        with pytest.raises(BudgetExceededError) as caught:
            await over
        assert (caught.value.retryable, caught.value.http_status, caught.value.retry_after) == (
            True,
            429,
            1.0,
        )
    assert counter(patchbay) == BudgetCounter(reserved=100)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)

    assert counter(patchbay) == BudgetCounter()


def test_a_copy_counts_for_the_house_and_for_no_user(provider: LoopbackProvider, make: Make) -> None:
    shadowed = ROW.replace("attempts = 1", f'attempts = 1\nshadow = {{ "{GEMINI}" = 100 }}')
    house = '[budgets.h]\nper = "owner"\ntokens = 1000\nperiod = "month"\n'
    patchbay = make(LUNA, shadowed + house)
    provider.always(answer(7))
    patchbay.get_llm("f", caller=ANN).invoke("hi")
    patchbay.runtime.shadows.join(10)

    balances = patchbay.explain("f", caller=ANN).budgets

    assert {balance.budget.name: balance.counter.spent for balance in balances} == {"b": 7, "h": 14}


def test_a_budget_begins_anew_with_its_period(provider: LoopbackProvider, make: Make) -> None:
    virtual = VirtualTime()
    patchbay = make(LUNA, ROW.replace("month", "day"), time=virtual.time)
    spend(provider, patchbay, 100)
    virtual.sleep(12 * 3600)

    spend(provider, patchbay, 20)

    assert counter(patchbay) == BudgetCounter(spent=20)


def test_who_is_refused_at_one_endpoint_is_served_by_another_that_is_cheap_enough(
    make: Make, call: Driver
) -> None:
    dear = f'[models."{LUNA}"]\noptions = {{ max_output_tokens = 1000 }}\n'
    cheap = f'[models."{GEMINI}"]\noptions = {{ max_output_tokens = 20 }}\n'
    budget = ROW.removeprefix(SHORT)
    patchbay = make([LUNA, GEMINI], dear + cheap + budget)

    receipt = call(patchbay.get_llm("f", caller=ANN), "hi").response_metadata["receipt"]

    assert (receipt["endpoint"], receipt["degraded"]) == (GEMINI, True)
    assert [one["endpoint"] for one in receipt["attempts"]] == [GEMINI]


def test_a_budget_that_is_used_up_after_a_failure_does_not_hide_the_failure(
    provider: LoopbackProvider, make: Make, call: Driver
) -> None:
    row = ROW.replace("attempts = 1", "attempts = 3").replace("100", "39")
    patchbay = make(LUNA, row, time=VirtualTime().time)
    provider.always(Text("", usage=Usage(0, 20)))

    with pytest.raises(LLMError) as caught:
        call(patchbay.get_llm("f", caller=ANN), "hi")

    assert isinstance(caught.value, ProviderDownError)
    assert len(provider.requests) == 1


def test_a_failure_says_which_endpoint_the_budget_kept_from_being_asked(
    provider: LoopbackProvider, make: Make, call: Driver
) -> None:
    patchbay = make([LUNA, GEMINI], ROW.replace("100", "39"))
    provider.always(Text("", usage=Usage(0, 20)))

    with pytest.raises(ProviderDownError) as caught:
        call(patchbay.get_llm("f", caller=ANN), "hi")

    assert str(caught.value) == (
        f"{LUNA} sent an empty answer. "
        f"{GEMINI} was not asked: it could use 20 tokens, and the budget b has 19 tokens left."
    )


def test_a_hedge_is_sent_only_if_there_is_room_for_both(
    provider: LoopbackProvider, make: Make, whole: Driver
) -> None:
    """The first request has set aside 20 of 39 tokens, so there is none beside it, and another one after it."""
    row = ROW.replace("100", "39").replace("attempts = 1", "hedge = true\nattempts = 1")
    patchbay = make([LUNA, GEMINI], row)
    provider.always(answer(0))
    for _ in range(ENOUGH):
        patchbay.get_llm("f").invoke("hi")
    provider.script(SlowFirstByte(0.5, answer(1)))

    receipt = whole(patchbay.get_llm("f", caller=ANN), "hi").response_metadata["receipt"]

    assert [one["endpoint"] for one in receipt["attempts"]] == [LUNA]
    assert counter(patchbay) == BudgetCounter(spent=1)


def test_both_requests_of_a_hedged_call_are_counted(
    provider: LoopbackProvider, make: Make, whole: Driver
) -> None:
    row = ROW.replace("attempts = 1", "hedge = true\nattempts = 1")
    patchbay = make([LUNA, GEMINI], row)
    provider.always(answer(0))
    for _ in range(ENOUGH):
        patchbay.get_llm("f").invoke("hi")
    provider.always(Hang(), model=LUNA.partition(":")[2])
    provider.always(answer(1), model=GEMINI.partition(":")[2])

    receipt = whole(patchbay.get_llm("f", caller=ANN), "hi" * 10).response_metadata["receipt"]

    assert [one["endpoint"] for one in receipt["attempts"]] == [LUNA, GEMINI]
    assert counter(patchbay) == BudgetCounter(spent=6)


def test_what_a_selector_sets_counts_as_it_is_set(
    provider: LoopbackProvider, make: Make, call: Driver
) -> None:
    def longer(choosing: Choosing) -> Use:
        return Use(choosing.candidates[0], Options(max_output_tokens=101))

    row = ROW.replace("attempts = 1", 'attempts = 1\nselect = { by = "custom", name = "longer" }')
    patchbay = make(LUNA, row, selectors={"longer": longer})

    with pytest.raises(BudgetExceededError):
        call(patchbay.get_llm("f", caller=ANN), "hi")
    assert not provider.requests


# The warning level ---------------------------------------------------------------------------------------------------


def test_from_the_warning_level_on_the_receipt_says_so_and_the_log_once(
    provider: LoopbackProvider, make: Make, call: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    patchbay = make(LUNA, ROW)
    spend(provider, patchbay, 60)
    provider.always(answer(0))

    model = patchbay.get_llm("f", caller=ANN)
    receipts = [call(model, "hi").response_metadata["receipt"] for _ in range(2)]

    mark = {"budget": "b", "per": "user", "mark": "warning"}
    assert [receipt["budgets"] for receipt in receipts] == [[mark], [mark]]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "budget b: 80 % of 100 tokens are used or set aside by the user acme::ann"
    ]
    assert [vars(record)["budget"] for record in caplog.records if hasattr(record, "event")] == ["b"]


def test_below_the_warning_level_nothing_is_said(
    provider: LoopbackProvider, make: Make, call: Driver
) -> None:
    patchbay = make(LUNA, ROW)
    spend(provider, patchbay, 59)

    assert call(patchbay.get_llm("f", caller=ANN), "hi").response_metadata["receipt"]["budgets"] == []


# Stepping down -------------------------------------------------------------------------------------------------------

LOW = f'[profiles.low]\nf = "{GEMINI}"\n'
DOWN = {"budget": "b", "per": "user", "mark": "stepped_down"}


@pytest.fixture
def stepping(provider: LoopbackProvider) -> Iterator[Patchbay]:
    """A user's budget of 100 tokens, the second half of which is for a cheaper profile."""
    made = loopback_patchbay(provider, {"f": LUNA, "step_down_to": "low"}, f"{ROW}step_down_at = 0.5\n{LOW}")
    yield made
    made.close()


def test_from_its_level_on_a_cheaper_profile_serves(
    provider: LoopbackProvider, stepping: Patchbay, call: Driver
) -> None:
    spend(provider, stepping, 31)

    receipt = call(stepping.get_llm("f", caller=ANN), "hi").response_metadata["receipt"]

    assert (receipt["endpoint"], receipt["profile"], receipt["degraded"]) == (GEMINI, "low", True)
    assert DOWN in receipt["budgets"]


def test_explain_says_who_would_serve_and_why_the_others_do_not(
    provider: LoopbackProvider, stepping: Patchbay
) -> None:
    spend(provider, stepping, 31)

    route = stepping.explain("f", caller=ANN)

    assert [str(candidate.endpoint) for candidate in route.candidates] == [GEMINI]
    assert [(skip.display_name, skip.code) for skip in route.skipped] == [(LUNA, RejectionCode.BUDGET)]
    assert "19 tokens left for this profile" in route.skipped[0].reason
    assert "budget b of the user acme::ann: 69 tokens left of 100 tokens" in str(route)


@pytest.mark.parametrize("spent", [0, 29, 30, 31, 79, 80, 81, 200])
def test_explain_says_what_a_call_then_does(
    provider: LoopbackProvider, stepping: Patchbay, call: Driver, spent: int
) -> None:
    spend(provider, stepping, spent)
    route = stepping.explain("f", caller=ANN)
    model = stepping.get_llm("f", caller=ANN)

    if not route.candidates:
        with pytest.raises(BudgetExceededError) as caught:
            call(model, "hi")
        assert str(caught.value) == str(route.expected_error())
    else:
        served = call(model, "hi").response_metadata["receipt"]["endpoint"]
        assert served == str(route.candidates[0].endpoint)
    assert bool(route.candidates) == (spent <= 80)


def test_the_cheaper_profile_ends_at_the_budget_too(
    provider: LoopbackProvider, stepping: Patchbay, call: Driver
) -> None:
    spend(provider, stepping, 20)
    spend(provider, stepping, 61)

    with pytest.raises(BudgetExceededError):
        call(stepping.get_llm("f", caller=ANN), "hi")
    assert isinstance(stepping.explain("f", caller=ANN).expected_error(), BudgetExceededError)


def test_a_provider_that_fails_is_no_reason_to_step_down(
    provider: LoopbackProvider, stepping: Patchbay, call: Driver
) -> None:
    provider.script(Status(503))

    with pytest.raises(ProviderDownError):
        call(stepping.get_llm("f", caller=ANN), "hi")
    assert len(provider.requests) == 1


# The store is away ---------------------------------------------------------------------------------------------------


def test_a_closed_budget_refuses_while_nobody_can_count(make: Make, call: Driver) -> None:
    patchbay = make(LUNA, ROW, budgets=AwayBudgets(lambda: 0.0))

    with pytest.raises(BudgetUnavailableError) as caught:
        call(patchbay.get_llm("f", caller=ANN), "hi")

    assert (caught.value.http_status, caught.value.retryable) == (503, True)
    assert isinstance(patchbay.explain("f", caller=ANN).expected_error(), BudgetUnavailableError)


def test_an_open_budget_lets_calls_go_on_and_the_receipt_says_so(
    provider: LoopbackProvider, make: Make, call: Driver
) -> None:
    patchbay = make(LUNA, f'{ROW}when_away = "open"', budgets=AwayBudgets(lambda: 0.0))

    receipt = call(patchbay.get_llm("f", caller=ANN), "hi").response_metadata["receipt"]

    assert receipt["budgets"] == [{"budget": "b", "per": "user", "mark": "uncounted"}]
    assert patchbay.explain("f", caller=ANN).candidates
    assert len(provider.requests) == 1


def test_one_closed_budget_is_enough_to_refuse(make: Make) -> None:
    both = f'{ROW}when_away = "open"\n[budgets.c]\nper = "tenant"\nusd = 5\nperiod = "total"\n'
    patchbay = make(LUNA, both, budgets=AwayBudgets(lambda: 0.0))

    with pytest.raises(BudgetUnavailableError, match="'c'"):
        patchbay.get_llm("f", caller=ANN).invoke("hi")


class TardyBudgets(MemoryBudgets):
    """A store that takes its time, of a time of its own."""

    def __init__(self, virtual: VirtualTime, seconds: float) -> None:
        super().__init__(virtual.clock)
        self._virtual, self._seconds = virtual, seconds

    def reserve(self, reservation: Reservation) -> Any:
        self._virtual.sleep(self._seconds)
        return super().reserve(reservation)


def test_what_a_store_takes_is_taken_from_the_deadline(make: Make) -> None:
    clock = Clock()
    row = ROW.replace("attempts = 1", "attempts = 1\ndeadline = 10")
    route = make(LUNA, row).explain("f", caller=ANN)
    dispatch = Dispatch(route, HealthTracker(clock), clock=clock)
    asked = dispatch.next_step()
    assert isinstance(asked, ReserveThenTry)

    clock.now += 9
    step = dispatch.confirm_reservation(asked.step, ())

    assert (asked.step.seconds, asked.step.most_seconds) == (10, 10)
    assert (step.seconds, step.most_seconds, step.number) == (1, 1, asked.step.number)


def test_after_a_request_was_put_back_an_endpoint_is_asked_as_often_as_its_row_says(make: Make) -> None:
    clock = Clock()
    route = make(LUNA, ROW.replace("attempts = 1", "attempts = 3")).explain("f", caller=ANN)
    dispatch, sent = Dispatch(route, HealthTracker(clock), clock=clock), 0

    for category in (
        FailureCategory.SERVER,
        FailureCategory.TIMEOUT,
        FailureCategory.EMPTY,
        FailureCategory.UNREADABLE,
    ):
        asked = next_reserve(dispatch, clock)
        if sent == 1:
            dispatch.requeue_request(asked, make_withdrawn_attempt(asked.step, Time()))
            asked = next_reserve(dispatch, clock)
        sent += 1
        if settle(dispatch, dispatch.confirm_reservation(asked.step, ()), category) is not None:
            break

    assert sent == 3


class Interrupted:
    """A dispatch that is interrupted while it puts a request back."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def requeue_request(self, _reserve: ReserveThenTry, _unsent: object) -> None:
        self.told.append("put back")
        raise KeyboardInterrupt

    def withdraw(self, _step: object, _unsent: object) -> None:
        self.told.append("withdrawn")


def test_a_request_whose_return_to_the_queue_is_interrupted_is_not_withdrawn_twice() -> None:
    limits = SimpleNamespace(reserve_shared_limits=lambda _number: False)
    health = SimpleNamespace(traffic=SimpleNamespace(rate_limiter=limits))
    runtime = SimpleNamespace(reservations=SimpleNamespace(waits=False), time=Time(), health=health)
    candidate = SimpleNamespace(meters=("m",), endpoint="openai:a", owner="house")
    step = SimpleNamespace(candidate=candidate, number=1)
    dispatch = Interrupted()

    with pytest.raises(KeyboardInterrupt):
        LimitReserver(runtime, dispatch, Any).reserve(SimpleNamespace(step=step), is_sync=True).send(None)  # type: ignore[arg-type]

    assert dispatch.told == ["put back"]


def next_reserve(dispatch: Dispatch, clock: Clock) -> ReserveThenTry:
    """The next request of ``dispatch``, which waits for nothing but the time."""
    while not isinstance(step := dispatch.next_step(), ReserveThenTry):
        assert isinstance(step, Wait)
        clock.now += step.seconds
    return step


def test_a_store_that_takes_longer_than_the_call_may_lets_nothing_out(
    provider: LoopbackProvider, make: Make, call: Driver
) -> None:
    virtual = VirtualTime()
    store = TardyBudgets(virtual, 10.0)
    patchbay = make(
        LUNA, ROW.replace("attempts = 1", "attempts = 1\ndeadline = 10"), time=virtual.time, budgets=store
    )

    with pytest.raises(CallTimeoutError):
        call(patchbay.get_llm("f", caller=ANN), "hi")

    assert not provider.requests
    assert counter(patchbay) == BudgetCounter()


def test_a_reason_tells_no_amount_of_what_others_have_spent(provider: LoopbackProvider, make: Make) -> None:
    patchbay = make(LUNA, ROW.replace('"user"', '"tenant"'))
    spend(provider, patchbay, 93, BOB)

    (skip,) = patchbay.explain("f", caller=ANN).skipped

    assert skip.reason == "it could use 20 tokens, and the budget b has less left"


# Values --------------------------------------------------------------------------------------------------------------


def test_a_call_without_a_budget_asks_no_store(make: Make, call: Driver) -> None:
    patchbay = make(LUNA, SHORT, budgets=AwayBudgets(lambda: 0.0))

    assert call(patchbay.get_llm("f", caller=ANN), "hi").response_metadata["receipt"]["budgets"] == []


def test_what_a_request_could_use_is_its_prompt_and_its_longest_answer(make: Make) -> None:
    patchbay = make(LUNA, ROW.replace("100", "1000"))
    needs = Needs(tokens=981)

    (skip,) = patchbay.explain("f", caller=ANN, needs=needs).skipped

    assert skip.reason == "it could use 1,001 tokens, and the budget b has 1,000 tokens left"


def test_the_last_day_of_a_year_ends_with_it() -> None:
    evening = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)

    assert (
        next_reset_at("day", evening) == next_reset_at("month", evening) == datetime(2027, 1, 1, tzinfo=UTC)
    )
    assert next_reset_at("total", evening) is None


def test_a_budget_in_dollars_is_kept_in_pico_dollars() -> None:
    row = BudgetRow.model_validate({"per": "user", "usd": "0.1", "period": "day", "step_down_at": 0.3})
    budget = Budget.from_row("b", row, "here")

    assert (budget.cap, budget.spending_ceiling(is_stepped_down=False)) == (10**11, 3 * 10**10)
    assert budget.format_amount(budget.cap) == "$0.1"


@pytest.mark.parametrize("most", ["usd = 0.001", "tokens = 100"])
@pytest.mark.parametrize("feature", ["openai:text-embedding-3-small", "gemini:gemini-embedding-001"])
async def test_vectors_are_no_answer_of_which_anything_is_set_aside(
    provider: LoopbackProvider, feature: str, most: str
) -> None:
    rows = (
        f'[features.f]\nembedding = {{ model = "{feature.partition(":")[2]}" }}\n'
        f'[budgets.b]\nper = "user"\n{most}\nperiod = "month"\n'
    )
    patchbay = loopback_patchbay(provider, {"f": feature}, rows)
    embeddings = patchbay.get_embeddings("f", caller=ANN)
    with closing(patchbay):
        embeddings.embed_documents(["some words"])
        await embeddings.aembed_documents(["some more words"])
        (balance,) = patchbay.explain("f", caller=ANN).budgets

    assert balance.counter.spent > 0
    assert balance.counter.reserved == 0
