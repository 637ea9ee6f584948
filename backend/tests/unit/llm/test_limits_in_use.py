"""Room is taken, kept and given back by whoever it belongs to, however a call ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from backend.utils.llm import Caller, Stop, Use
from backend.utils.llm.errors import (
    ConfigError,
    LLMError,
    ProviderDownError,
    SelectionStoppedError,
    SelectorError,
)
from backend.utils.llm.model_config import parse_table
from backend.utils.llm.needs import estimate_prompt_tokens
from backend.utils.llm.options import Options
from backend.utils.llm.providers import CallSettings
from backend.utils.llm.rate_limits import Limits
from backend.utils.llm.testing import (
    Hang,
    Html,
    LoopbackProvider,
    SlowFirstByte,
    Text,
    Trickle,
    Usage,
    WrongJson,
)
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from backend.utils.llm import Choosing
    from backend.utils.llm.patchbay import Patchbay

    from .conftest import Make
    from .drivers import Driver

LUNA, TERRA = "openai:gpt-6-luna", "openai:gpt-6.1-terra"
TEN_TOKENS = "0123456789" * 4
ONE_AT_ONCE = "[features.f]\nlimits = { concurrency = 1 }\n"


def is_free(patchbay: Patchbay) -> bool:
    return bool(patchbay.explain("f").candidates[0].rest is None)


async def test_who_is_cancelled_while_they_wait_leaves_the_line_at_once(
    provider: LoopbackProvider, make: Make
) -> None:
    patchbay = make(LUNA, ONE_AT_ONCE)
    provider.always(Hang())
    calls = [asyncio.create_task(patchbay.get_llm("f").ainvoke("hi")) for _ in range(3)]
    await asyncio.to_thread(provider.wait_until, lambda requests: len(requests) == 1)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)

    assert is_free(patchbay)


async def test_who_is_stopped_by_a_selector_leaves_nothing_behind(make: Make) -> None:
    row = ONE_AT_ONCE + 'select = { by = "custom", name = "stop" }'
    patchbay = make(LUNA, row, selectors={"stop": lambda _: Stop("enough")})
    for _ in range(3):
        with pytest.raises(SelectionStoppedError):
            await patchbay.get_llm("f").ainvoke("hi")

    assert is_free(patchbay)


async def test_what_was_set_aside_and_is_given_back_is_noticed_by_who_waits(
    provider: LoopbackProvider, make: Make
) -> None:
    row = "[features.f]\noptions = { max_output_tokens = 6000 }\nlimits = { tokens = '10000/day' }"
    patchbay = make(LUNA, row)
    provider.always(SlowFirstByte(0.2, Text("short", usage=Usage(5, 5))))

    answers = await asyncio.gather(*(patchbay.get_llm("f").ainvoke("hi") for _ in range(2)))

    assert [answer.text for answer in answers] == ["short", "short"]


def test_the_acceptance_test_of_an_answer_may_use_the_same_endpoint(make: Make, call: Driver) -> None:
    patchbay = make(LUNA, ONE_AT_ONCE + "deadline = 5")

    def judged(_: Any) -> bool:
        return bool(patchbay.get_llm("f").invoke("is that right?").text)

    assert call(patchbay.get_llm("f").bind(accept=judged), "hi").text


def test_a_call_that_has_to_wait_a_minute_waits_a_minute(
    provider: LoopbackProvider, make: Make, call: Driver
) -> None:
    virtual = VirtualTime()
    patchbay = make(LUNA, "[features.f]\nlimits = { requests = '1/minute' }", time=virtual.time)

    call(patchbay.get_llm("f"), "hi")
    call(patchbay.get_llm("f"), "hi")

    assert virtual.clock() == pytest.approx(60)
    assert len(provider.requests) == 2


@pytest.mark.parametrize(("passed", "seconds"), [(0, 3600), (1000, 2600), (3560, 40)])
def test_who_may_not_wait_is_told_to_the_second_when_there_is_room(
    make: Make, call: Driver, passed: float, seconds: float
) -> None:
    virtual = VirtualTime()
    row = "[features.f]\ndeadline = 30\nlimits = { requests = '1/hour' }"
    patchbay = make(LUNA, row, time=virtual.time)
    call(patchbay.get_llm("f"), "hi")
    virtual.sleep(passed)

    with pytest.raises(LLMError, match=f"room in {seconds} s") as caught:
        call(patchbay.get_llm("f"), "hi")

    assert caught.value.retry_after == pytest.approx(seconds)
    assert f"room in {seconds} s" in str(patchbay.explain("f").candidates or patchbay.explain("f").skipped)


def tokens_used(patchbay: Patchbay) -> int:
    rate = Limits.model_validate({"tokens": "10000/day"}).tokens[0]
    return patchbay.health.traffic.rate_limiter.count_used_tokens("feature f", rate)


class TestWhatIsGivenUp:
    """It costs what it used, or our estimate of that, and not what was reserved for it."""

    ROW = "[features.f]\noptions = { max_output_tokens = 2000 }\nlimits = { tokens = '10000/day' }\nattempts = 1"

    def test_a_stream_that_is_stopped(self, provider: LoopbackProvider, make: Make) -> None:
        patchbay = make(LUNA, self.ROW)
        provider.always(Trickle(Text("one two three four five six", usage=Usage(10, 6)), 0.05))
        chunks = patchbay.get_llm("f").stream(TEN_TOKENS)
        next(chunks)
        chunks.close()  # type: ignore[attr-defined]

        assert 10 <= tokens_used(patchbay) <= 16

    async def test_a_call_that_is_cancelled(self, provider: LoopbackProvider, make: Make) -> None:
        patchbay = make(LUNA, self.ROW)
        provider.always(Hang())
        call = asyncio.create_task(patchbay.get_llm("f").ainvoke(TEN_TOKENS))
        await asyncio.to_thread(provider.wait_until, lambda requests: len(requests) == 1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

        assert 10 <= tokens_used(patchbay) <= 16

    def test_an_answer_that_is_rejected(self, provider: LoopbackProvider, make: Make, call: Driver) -> None:
        patchbay = make(LUNA, self.ROW)
        provider.always(Text("no", usage=Usage(10, 6)))
        with pytest.raises(LLMError):
            call(patchbay.get_llm("f").bind(accept=lambda _: False), TEN_TOKENS)

        assert tokens_used(patchbay) == 16

    @pytest.mark.parametrize("reply", [WrongJson(), Html()], ids=["JSON of another kind", "HTML"])
    def test_an_answer_that_cannot_be_read(
        self, provider: LoopbackProvider, make: Make, call: Driver, reply: Any
    ) -> None:
        patchbay = make(LUNA, self.ROW)
        provider.always(reply)
        with pytest.raises(LLMError):
            call(patchbay.get_llm("f"), TEN_TOKENS)

        assert 10 <= tokens_used(patchbay) <= 16

    def test_a_request_whose_connection_was_refused_costs_no_request(self, make: Make, call: Driver) -> None:
        row = "[features.f]\nattempts = 1\nlimits = { requests = '1/day' }"
        gone = LoopbackProvider().start()
        patchbay = make(LUNA, row, server=gone)
        gone.close()
        for _ in range(2):
            with pytest.raises(ProviderDownError):
                call(patchbay.get_llm("f"), "hi")


def test_a_tier_s_tokens_are_counted_of_streams_that_are_broken_off(
    provider: LoopbackProvider, make: Make
) -> None:
    select = f"""[features.f.select]
by = "tier"
default = "free"
[features.f.select.tiers]
free = "{LUNA}"
pro = {{ endpoints = ["{TERRA}", "{LUNA}"], tokens = "1000/day" }}"""
    patchbay = make([TERRA, LUNA], select, time=VirtualTime().time)
    caller = Caller(user_id="ann", tier="pro")
    provider.always(Text("word " * 400))
    for _ in range(3):
        stream = patchbay.get_llm("f", caller=caller).stream("hello " * 400)
        for _ in range(300):
            next(stream)
        stream.close()  # type: ignore[attr-defined]

    assert provider.requests[-1].model == "gpt-6-luna"


def test_a_quota_is_not_forgotten_because_many_others_have_one(make: Make) -> None:
    patchbay = make(LUNA, "[features.f]\nlimits = { requests = '1/month' }", time=VirtualTime().time)
    patchbay.get_llm("f").invoke("hi")
    meters = patchbay.health.traffic.rate_limiter
    for number in range(10_100):
        meters.join_queue(f"key {number}", number + 1, 0.0, 0)
        meters.leave_queue(f"key {number}", number + 1)

    with pytest.raises(LLMError):
        patchbay.get_llm("f").invoke("hi")


def test_unnamed_callers_each_get_their_own_draw(make: Make) -> None:
    patchbay = make(LUNA, f'[features.f]\nsplit = {{ "{TERRA}" = 50 }}')
    arms = {
        patchbay.get_llm("f").invoke("hi").response_metadata["receipt"]["arm"] for _ in range(40)
    }  # one in 10**12 that all are the same

    assert arms == {"control", TERRA}


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda _: Use(None),  # type: ignore[arg-type]
        lambda _: Use("openai:gpt-6-luna"),  # type: ignore[arg-type]
        lambda choosing: Use(choosing.candidates[0], {"timeout": 9}),  # type: ignore[arg-type]
        lambda _: Stop,
        lambda _: 7,
    ],
    ids=["nobody", "a name", "options as a dictionary", "a class", "a number"],
)
def test_what_is_no_choice_is_the_selector_s_error(make: Make, call: Driver, nonsense: Any) -> None:
    row = ONE_AT_ONCE + 'select = { by = "custom", name = "odd" }'
    patchbay = make(LUNA, row, selectors={"odd": nonsense})

    with pytest.raises(SelectorError, match="no choice"):
        call(patchbay.get_llm("f"), "hi")
    assert is_free(patchbay)


async def test_a_selector_that_does_not_answer_ends_with_the_deadline(make: Make) -> None:
    async def slow(_: Choosing) -> Any:
        await asyncio.Event().wait()

    row = '[features.f]\ndeadline = 0.2\nselect = { by = "custom", name = "slow" }'
    with pytest.raises(SelectorError, match="deadline"):
        await make(LUNA, row, selectors={"slow": slow}).get_llm("f").ainvoke("hi")


def test_a_shadow_takes_no_room_of_the_feature(provider: LoopbackProvider, make: Make) -> None:
    patchbay = make(LUNA, ONE_AT_ONCE + f'shadow = {{ "{TERRA}" = 100 }}')
    provider.always(SlowFirstByte(0.5, Text("late")), model="gpt-6.1-terra")

    patchbay.get_llm("f").invoke("hi")

    assert is_free(patchbay)
    patchbay.runtime.shadows.join(5)


@pytest.mark.parametrize(
    ("messages", "least"),
    [
        ([HumanMessage("x" * 4000)], 1000),
        ([HumanMessage("漢" * 4000)], 2900),
        ([AIMessage("", tool_calls=[{"name": "t", "args": {"a": "x" * 4000}, "id": "1"}])], 1000),
        ([HumanMessage([{"type": "text", "text": "x" * 4000}])], 1000),
    ],
    ids=["ASCII", "other scripts", "calls of tools", "blocks"],
)
def test_the_estimate_of_a_prompt_counts_all_that_is_sent(messages: list[Any], least: int) -> None:
    assert least <= estimate_prompt_tokens(messages, CallSettings(Options())) <= 2 * least


def test_an_override_may_not_open_to_all_what_a_group_gives_by_tier() -> None:
    table = f"""
[providers.openai]
api = "openai"
api_key_env = "OPENAI_API_KEY"
[profiles.premium]
f = "group:g"
[profiles.byok]
extends = "premium"
[groups.g]
endpoints = ["{LUNA}", "{TERRA}"]
select = {{ by = "tier", default = "free", tiers = {{ free = "{LUNA}", pro = "{TERRA}" }} }}"""

    with pytest.raises(ConfigError, match="open to every tier"):
        parse_table(table, environ={"LLM_FEATURE_F": TERRA})
    assert "f" in parse_table(table, environ={"LLM_FEATURE_F": "group:g"}).features
