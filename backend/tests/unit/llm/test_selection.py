"""Each strategy as an order over candidates, and what a choice leaves behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.tests.fakes.simulation import KEYS, World
from backend.tests.fakes.work import stays_within
from backend.utils.llm.caller import HOUSE, Caller
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.routing.route import Needs
from backend.utils.llm.routing.selection import (
    latency_kind,
    make_selection_context,
    order_candidates,
    record_choice,
)
from backend.utils.llm.strategies import TierStrategy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.utils.llm.routing.route import Candidate
    from backend.utils.llm.strategies import SelectionContext

RED, BLUE, GREEN = NAMES = ["red:m", "blue:m", "green:m"]
LIMITS = '[providers.{}.limits]\nrequests = "9/{}"\n'
SELECTIONS = {
    "ordered": '"ordered"',
    "weighted": f'{{ by = "weighted", weights = {{ "{BLUE}" = 2 }} }}',
    "least_used": '"least_used"',
    "least_busy": '"least_busy"',
    "latency": '"latency"',
    "quota": '"quota"',
    "tier": f'{{ by = "tier", default = "free", tiers = {{ free = ["{BLUE}", "{RED}", "{GREEN}"] }} }}',
    "context": '"context"',
    "cost": '"cost"',
}


class Runtime:
    """Three endpoints, one of them to be chosen; and what goes on with each."""

    def __init__(
        self, select: str, more: str = "", *, caller: Caller = HOUSE, needs: Needs | None = None
    ) -> None:
        self.world = World({"f": NAMES}, f"[features.f]\nselect = {select}\n{more}")
        self.traffic = self.world.health.traffic
        self.needs, self.caller = needs or Needs(), caller
        self.tier = list(self.world.plan("f", caller).candidates)
        self.tier.sort(key=lambda candidate: NAMES.index(str(candidate.endpoint)))

    @property
    def situation(self) -> SelectionContext:
        return make_selection_context(self.needs, self.caller, self.traffic)

    @property
    def order(self) -> list[str]:
        return [str(candidate.endpoint) for candidate in order_candidates(self.tier, self.situation)]

    def choose(self, among: Sequence[Candidate] | None = None) -> str:
        """Ask the first, as a dispatch does, and leave it under way."""
        able = list(among or self.tier)
        first = order_candidates(able, self.situation)[0]
        record_choice(first, able, self.situation)
        self.traffic.targets.record_start(first.traffic_key, next(self.traffic.numbers), self.world.now + 65)
        return str(first.endpoint)

    def told(self, name: str, seconds: float | None, *, failed: bool = False) -> None:
        """One request to ``name``; None if nothing was told of it yet."""
        one = self.tier[NAMES.index(name)]
        number, targets = next(self.traffic.numbers), self.traffic.targets
        targets.record_start(one.traffic_key, number, self.world.now + 65)
        if seconds is not None:
            targets.record_end(one.traffic_key, number)
            (targets.record_failure if failed else targets.record_answer)(
                one.traffic_key, latency_kind(self.needs), seconds
            )


@given(
    select=st.sampled_from(sorted(SELECTIONS)),
    events=st.lists(
        st.tuples(st.sampled_from(NAMES), st.none() | st.floats(0.001, 60), st.booleans(), st.floats(0, 10)),
        max_size=30,
    ),
)
def test_an_order_leaves_no_endpoint_out_and_looking_at_it_changes_nothing(
    select: str, events: list[tuple[str, float | None, bool, float]]
) -> None:
    runtime = Runtime(SELECTIONS[select], LIMITS.format("red", "day"))
    for name, seconds, failed, pause in events:
        runtime.told(name, seconds, failed=failed)
        runtime.choose()
        runtime.world.pass_time(pause)

    order = runtime.order

    assert sorted(order) == sorted(NAMES)
    assert runtime.order == order
    assert runtime.choose() == order[0]


@pytest.mark.parametrize("select", ['"ordered"', '{ by = "custom", name = "mine" }'])
def test_what_others_order_stays_as_it_was_written(select: str) -> None:
    runtime = Runtime(select)
    runtime.told(RED, 60.0)

    assert runtime.order == NAMES


def test_tiers_keep_their_places() -> None:
    """The slow first tier is tried before the quick second one."""
    rows = '[groups.first]\nendpoints = ["red:m", "red:n"]\nselect = "latency"\nthen = "second"\n'
    rows += '[groups.second]\nendpoints = ["blue:m", "blue:n"]\nselect = "latency"'
    world = World({"f": "group:first"}, rows)
    traffic = world.health.traffic
    for candidate, seconds in zip(world.plan("f").candidates, (9.0, 8.0, 2.0, 1.0), strict=True):
        traffic.targets.record_answer(candidate.traffic_key, "total", seconds)

    order = order_candidates(world.plan("f").candidates, make_selection_context(Needs(), HOUSE, traffic))

    assert [str(one.endpoint) for one in order] == ["red:n", "red:m", "blue:n", "blue:m"]


def test_runs_of_a_tier_that_are_apart_stay_apart() -> None:
    """A last resort is ordered by when each may be asked, whatever its tier."""
    rows = '[groups.first]\nendpoints = ["red:m", "green:m"]\nselect = "latency"\nthen = "second"\n'
    world = World({"f": "group:first"}, rows + '[groups.second]\nendpoints = "blue:m"')
    red, green, blue = world.plan("f").candidates

    order = order_candidates([green, blue, red], make_selection_context(Needs(), HOUSE, world.health.traffic))

    assert order == [green, blue, red]


class TestLatency:
    """The quickest first."""

    def test_by_what_their_answers_took(self) -> None:
        runtime = Runtime(SELECTIONS["latency"])
        for name, seconds in zip(NAMES, (0.3, 0.1, 0.2), strict=True):
            runtime.told(name, seconds)

        assert runtime.order == [BLUE, GREEN, RED]

    def test_times_what_they_have_under_way(self) -> None:
        runtime = Runtime(SELECTIONS["latency"])
        for name, seconds in zip(NAMES, (0.1, 0.25, 0.35), strict=True):
            runtime.told(name, seconds)

        assert [runtime.choose() for _ in range(6)] == [RED, RED, BLUE, RED, GREEN, RED]

    def test_of_what_is_not_known_the_best_is_assumed(self) -> None:
        runtime = Runtime(SELECTIONS["latency"])
        runtime.told(RED, 0.3)
        runtime.told(BLUE, 0.1)

        assert runtime.order == [GREEN, BLUE, RED]

    def test_what_has_only_failed_so_far_comes_last(self) -> None:
        runtime = Runtime(SELECTIONS["latency"])
        runtime.told(RED, 0.005, failed=True)
        runtime.told(BLUE, 5.0)
        runtime.told(GREEN, 9.0)

        assert runtime.order == [BLUE, GREEN, RED]

    def test_now_and_then_the_one_that_was_not_timed_for_longest_comes_first(self) -> None:
        runtime = Runtime(SELECTIONS["latency"])
        for name, seconds in zip(NAMES, (0.1, 5.0, 11.0), strict=True):
            runtime.told(name, seconds)
            runtime.world.pass_time(1.0)

        asked = []
        for _ in range(40):
            asked.append(
                runtime.choose([candidate for candidate in runtime.tier if str(candidate.endpoint) != RED])
            )
            runtime.world.pass_time(70)
            runtime.told(BLUE, 5.0)

        assert [nth for nth, name in enumerate(asked, 1) if name == GREEN] == [20, 40]

    def test_but_not_one_that_was_timed_just_now_or_is_about_to_be(self) -> None:
        runtime = Runtime('{ by = "latency", explore = 0.5, stale_after = 2 }')
        runtime.told(RED, 0.1)
        runtime.told(BLUE, 0.5)
        runtime.told(GREEN, 0.9)
        runtime.traffic.round_robin.record_choice(runtime.tier[0].scope)

        assert runtime.order[0] == RED
        runtime.world.pass_time(2.0)
        runtime.told(RED, 0.1)
        assert runtime.order[0] == BLUE
        runtime.told(BLUE, None)
        assert runtime.order[0] == RED


class TestQuota:
    """What is lost soonest is used first."""

    def test_by_the_end_of_their_quotas_and_those_without_one_last(self) -> None:
        more = LIMITS.format("blue", "month") + LIMITS.format("green", "day")

        assert Runtime(SELECTIONS["quota"], more).order == [GREEN, BLUE, RED]


class TestLeastUsed:
    """In turn."""

    def test_who_is_back_is_level_with_the_others_and_not_ahead_of_them(self) -> None:
        runtime = Runtime(SELECTIONS["least_used"])
        others = runtime.tier[1:]
        for _ in range(3):
            runtime.choose()
        for _ in range(100):
            runtime.choose(others)

        back = [runtime.choose() for _ in range(31)]

        assert back.count(RED) == 11

    def test_what_a_feature_uses_counts_for_the_others_too(self) -> None:
        runtime = Runtime(SELECTIONS["least_used"])
        for _ in range(5):
            runtime.told(RED, 0.1)

        assert runtime.order == [BLUE, GREEN, RED]


class TestByTier:
    """What the caller's tier may use, best first."""

    @pytest.mark.parametrize(
        ("tier", "known"), [("gold", "gold"), ("free", "free"), ("iron", "free"), (None, "free")]
    )
    def test_who_has_no_tier_that_is_known_has_the_default_one(self, tier: str | None, known: str) -> None:
        select = TierStrategy.model_validate({"default": "free", "tiers": {"gold": RED, "free": BLUE}})

        assert select.effective_tier(tier) == known

    def test_the_order_is_the_tier_s_own(self) -> None:
        assert Runtime(SELECTIONS["tier"]).order == [BLUE, RED, GREEN]


class TestContextLadder:
    """The first rung that is long enough."""

    UP_TO = f'{{ by = "context", up_to = {{ "{RED}" = 100, "{BLUE}" = 1000 }} }}'

    @pytest.mark.parametrize(
        ("tokens", "order"),
        [
            (100, [RED, BLUE, GREEN]),
            (101, [BLUE, GREEN, RED]),
            (1001, [GREEN, RED, BLUE]),
        ],
    )
    def test_from_there_upwards_then_the_shorter_ones(self, tokens: int, order: list[str]) -> None:
        assert Runtime(self.UP_TO, needs=Needs(tokens=tokens)).order == order

    @pytest.mark.parametrize(("tokens", "first"), [(81, BLUE), (80, RED)])
    def test_a_conversation_that_has_climbed_comes_down_once_it_fits_well(
        self, tokens: int, first: str
    ) -> None:
        runtime = Runtime(self.UP_TO, caller=Caller(conversation_id="talk"), needs=Needs(tokens=500))
        assert runtime.choose() == BLUE

        runtime.needs = Needs(tokens=tokens)

        assert runtime.order[0] == first

    def test_without_a_conversation_nothing_is_remembered(self) -> None:
        runtime = Runtime(self.UP_TO, needs=Needs(tokens=500))
        runtime.choose()
        runtime.needs = Needs(tokens=90)

        assert runtime.order[0] == RED


class TestCostLadder:
    """The cheapest whose answers are good enough."""

    def scored(self, *scores: tuple[str, float, int]) -> Runtime:
        runtime = Runtime('{ by = "cost", least = 5, enough = 0.8 }')
        for name, score, times in scores:
            for _ in range(times):
                runtime.traffic.quality_scores.record_score("feature f", name, score)
        return runtime

    @pytest.mark.parametrize(
        ("scores", "order"),
        [
            ([], [RED, BLUE, GREEN]),
            ([(RED, 0.8, 5)], [RED, BLUE, GREEN]),
            ([(RED, 0.7, 4)], [RED, BLUE, GREEN]),
            ([(RED, 0.7, 5)], [BLUE, GREEN, RED]),
            ([(RED, 0.7, 5), (BLUE, 0.1, 5)], [GREEN, RED, BLUE]),
            ([(RED, 0.1, 5), (BLUE, 0.2, 5), (GREEN, 0.3, 5)], [GREEN, BLUE, RED]),
        ],
        ids=["unknown", "good enough", "too few", "not good enough", "neither of two", "none"],
    )
    def test_from_there_upwards_then_what_lies_below(
        self, scores: list[tuple[str, float, int]], order: list[str]
    ) -> None:
        assert self.scored(*scores).order == order

    def test_every_twentieth_call_starts_at_the_bottom_all_the_same(self) -> None:
        runtime = self.scored((RED, 0.1, 5))

        asked = [runtime.choose() for _ in range(40)]

        assert [nth for nth, name in enumerate(asked, 1) if name == RED] == [20, 40]


class TestAccounts:
    """Of one endpoint, each with its key."""

    ROWS = (
        '[providers.pool]\napi = "openai"\nbase_url = "https://pool.example/v1"\n[providers.pool.accounts]\n'
        'one = { api_key_env = "ONE_KEY" }\ntwo = { api_key_env = "TWO_KEY", weight = 3 }\n'
    )

    @pytest.mark.parametrize(
        ("select", "of_eight"), [("weighted", 2), ("least_used", 2), ("least_busy", 2), ("latency", 2)]
    )
    def test_one_whose_weight_is_three_gets_three_times_as_much(self, select: str, of_eight: int) -> None:
        keys = {**KEYS, "ONE_KEY": "house-one", "TWO_KEY": "house-two"}
        world = World({"f": "pool:m"}, f'[features.f]\nselect = "{select}"\n{self.ROWS}', environ=keys)
        situation = make_selection_context(Needs(), HOUSE, world.health.traffic)
        tier, asked = list(world.plan("f").candidates), []
        for _ in range(8):
            first = order_candidates(tier, situation)[0]
            record_choice(first, tier, situation)
            traffic = world.health.traffic
            traffic.targets.record_start(first.traffic_key, next(traffic.numbers), 65)
            asked.append(first.account.name if first.account else None)

        assert asked.count("one") == of_eight


@pytest.mark.parametrize("select", sorted(SELECTIONS))
def test_a_choice_among_twenty_is_cheap(select: str) -> None:
    """Twenty microseconds on a quiet machine; here so many times that, which no other load makes fail."""
    names = [f"red:{number}" for number in range(20)]
    tiers = ", ".join(f'"{name}"' for name in names)
    spelt = {
        "tier": f'{{ by = "tier", default = "free", tiers = {{ free = [{tiers}] }} }}',
        "weighted": '"weighted"',
    }
    rows = f"[features.f]\nselect = {spelt.get(select, SELECTIONS[select])}\n{LIMITS.format('red', 'day')}"
    world = World({"f": names}, rows)
    situation = make_selection_context(Needs(), Caller(conversation_id="talk"), world.health.traffic)
    tier = list(world.plan("f").candidates)

    def choose() -> None:
        for _ in range(500):
            record_choice(order_candidates(tier, situation)[0], tier, situation)

    assert stays_within(500 * 10 * 20e-6, choose)


def test_an_unavailable_endpoint_is_chosen_after_its_cooldown() -> None:
    runtime = Runtime(SELECTIONS["weighted"])
    runtime.world.health.start_cooldown(
        runtime.tier[1].endpoint_circuit, 10.0, FailureCategory.MODEL_NOT_FOUND
    )

    during = [runtime.world.call().tried[0] for _ in range(4)]
    runtime.world.pass_time(10.0)
    after = [runtime.world.call().tried[0] for _ in range(4)]

    assert BLUE not in during
    assert after.count(BLUE) == 2
