"""Whose turn it is."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.utils.llm.state.weighted_round_robin import WeightedRoundRobin

SCOPE = "feature f"


@pytest.fixture
def round_robin() -> WeightedRoundRobin:
    return WeightedRoundRobin(random.Random(1).random)  # noqa: S311


def choose(
    round_robin: WeightedRoundRobin, weights: dict[tuple[str, str], float], scope: str = SCOPE
) -> tuple[str, str]:
    current_weight = round_robin.current_weights(scope)
    chosen = max(weights, key=lambda one: current_weight.get(one, 0.0) + weights[one])
    round_robin.update_weights(scope, chosen, weights)
    return chosen


weights = st.lists(st.integers(1, 20), min_size=1, max_size=6).map(
    lambda figures: {(f"red:{place}", "key"): float(figure) for place, figure in enumerate(figures)}
)


@given(weights=weights, rounds=st.integers(1, 3))
def test_after_as_many_choices_as_the_weights_add_up_to_each_was_chosen_as_often_as_its_weight(
    weights: dict[tuple[str, str], float], rounds: int
) -> None:
    round_robin = WeightedRoundRobin(lambda: 0.0)

    counted = Counter(choose(round_robin, weights) for _ in range(rounds * int(sum(weights.values()))))

    assert counted == {one: rounds * weight for one, weight in weights.items()}


@given(weights=weights, choices=st.integers(1, 100))
def test_at_no_time_is_one_ahead_by_a_whole_choice_for_each_other(
    weights: dict[tuple[str, str], float], choices: int
) -> None:
    round_robin = WeightedRoundRobin(lambda: 0.0)

    counted = Counter(choose(round_robin, weights) for _ in range(choices))

    total = sum(weights.values())
    assert all(
        abs(counted[one] - choices * weight / total) <= len(weights) for one, weight in weights.items()
    )


def test_three_to_one_is_smooth(round_robin: WeightedRoundRobin) -> None:
    weights = {("a", ""): 3.0, ("b", ""): 1.0}

    assert [choose(round_robin, weights)[0] for _ in range(8)] == list("aabaaaba")


def test_thirds_are_exact_after_ten_thousand_rounds(round_robin: WeightedRoundRobin) -> None:
    weights = {("a", "1"): 2 / 3, ("a", "2"): 2 / 3, ("a", "3"): 2 / 3, ("b", ""): 1.0}

    counted = Counter(choose(round_robin, weights)[0] for _ in range(30_000))

    assert counted == {"a": 20_000, "b": 10_000}


def test_who_is_away_saves_nothing_up(round_robin: WeightedRoundRobin) -> None:
    both = {("a", ""): 1.0, ("b", ""): 1.0}
    for _ in range(100):
        choose(round_robin, {("b", ""): 1.0})

    assert Counter(choose(round_robin, both) for _ in range(10)) == {("a", ""): 5, ("b", ""): 5}


def test_each_scope_has_its_own_turns(round_robin: WeightedRoundRobin) -> None:
    both = {("a", ""): 1.0, ("b", ""): 1.0}

    assert choose(round_robin, both, "feature f") == choose(round_robin, both, "feature g") == ("a", "")


class TestNewcomers:
    """Who could not be chosen the last time."""

    A, B = ("a", ""), ("b", "")

    def test_the_first_time_there_are_none(self, round_robin: WeightedRoundRobin) -> None:
        assert round_robin.find_and_record_new_targets(SCOPE, {self.A, self.B}) == set()

    def test_who_was_away_is_new_once(self, round_robin: WeightedRoundRobin) -> None:
        found = [
            round_robin.find_and_record_new_targets(SCOPE, targets)
            for targets in ({self.A}, {self.A, self.B}, {self.A, self.B})
        ]

        assert found == [set(), {self.B}, set()]


class TestLookingAround:
    """A share of the choices, evenly spread."""

    @pytest.mark.parametrize(("share", "every"), [(0.05, 20), (0.1, 10), (0.5, 2)])
    def test_every_so_many(self, round_robin: WeightedRoundRobin, share: float, every: int) -> None:
        explored = []
        for nth in range(1, 1001):
            if round_robin.should_explore(SCOPE, share):
                explored.append(nth)
            round_robin.record_choice(SCOPE)

        assert len(explored) == 1000 // every
        assert all(abs(nth - (place + 1) * every) <= 1 for place, nth in enumerate(explored))

    def test_looking_at_it_changes_nothing(self, round_robin: WeightedRoundRobin) -> None:
        assert not any(round_robin.should_explore(SCOPE, 0.05) for _ in range(100))


class TestDice:
    """What the next choice falls by."""

    def test_they_lie_until_a_choice_is_made(self, round_robin: WeightedRoundRobin) -> None:
        first = [round_robin.choice_random_number for _ in range(3)]
        round_robin.record_choice("any")

        assert len(set(first)) == 1
        assert round_robin.choice_random_number != first[0]
