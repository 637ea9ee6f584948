"""Who is in which arm of a split."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.tests.fakes.simulation import World
from backend.utils.llm.caller import HOUSE, Caller
from backend.utils.llm.routing.split import assign_trial_share

if TYPE_CHECKING:
    from backend.utils.llm.model_config import Feature, TrafficShare

ROWS = '[features.f]\nsplit = {{ "blue:m" = {f} }}\n[features.g]\nsplit = {{ "blue:m" = {g} }}'
USERS = [Caller(user_id=f"user {number}") for number in range(10_000)]


def features(f: float, g: float = 50) -> tuple[Feature, Feature]:
    """Two features that each try the same endpoint, with so many percent."""
    snapshot = World({"f": "red:m", "g": "red:m"}, ROWS.format(f=f, g=g)).snapshot
    return snapshot.features["f"], snapshot.features["g"]


def on_trial(feature: Feature) -> set[str]:
    return {str(user.user_id) for user in USERS if assign_trial_share(feature, user, 0.0) is not None}


@given(st.text(min_size=1), st.floats(0, 1, exclude_max=True))
def test_a_user_stays_in_one_arm_whatever_the_draw_the_conversation_and_the_day(
    user: str, dice: float
) -> None:
    feature, _ = features(50)
    calls = [Caller(user_id=user, conversation_id=talk, tenant_id="t") for talk in (None, "one", "two")]

    assert len({assign_trial_share(feature, call, throw) for call in calls for throw in (0.0, dice)}) == 1


@pytest.mark.parametrize("percent", [0.5, 1, 10, 50, 99])
def test_of_ten_thousand_users_as_many_are_on_trial_as_the_share_says(percent: float) -> None:
    feature, _ = features(percent)

    assert len(on_trial(feature)) / len(USERS) == pytest.approx(percent / 100, abs=0.015)


def test_a_share_that_grows_keeps_its_users() -> None:
    arms = [on_trial(features(percent)[0]) for percent in (1, 5, 20, 60, 100)]

    assert all(before < after for before, after in pairwise(arms))
    assert len(arms[-1]) == len(USERS)


def test_two_features_draw_their_users_independently() -> None:
    one, other = (on_trial(feature) for feature in features(50))

    assert len(one & other) / len(USERS) == pytest.approx(0.25, abs=0.02)


def test_several_shares_stand_side_by_side() -> None:
    rows = '[features.f]\nsplit = { "blue:m" = 20, "green:m" = 30 }'
    feature = World({"f": "red:m"}, rows).snapshot.features["f"]

    found = Counter(
        share.endpoint.model_id and str(share.endpoint) if share else None for share in shares(feature)
    )

    assert found["blue:m"] / len(USERS) == pytest.approx(0.2, abs=0.015)
    assert found["green:m"] / len(USERS) == pytest.approx(0.3, abs=0.015)


def shares(feature: Feature) -> list[TrafficShare | None]:
    return [assign_trial_share(feature, user, 0.0) for user in USERS]


@pytest.mark.parametrize(
    "caller",
    [
        Caller(conversation_id="talk"),
        Caller(tenant_id="acme"),
        Caller(conversation_id="talk", tenant_id="acme"),
    ],
    ids=["conversation", "tenant", "both"],
)
def test_who_has_no_name_is_known_by_their_conversation_or_else_by_their_tenant(caller: Caller) -> None:
    feature, _ = features(50)

    assert len({assign_trial_share(feature, caller, dice) for dice in (0.0, 0.3, 0.9)}) == 1


def test_the_conversation_comes_before_the_tenant() -> None:
    feature, _ = features(50)
    calls = [Caller(conversation_id=str(number), tenant_id="acme") for number in range(100)]

    assert {assign_trial_share(feature, call, 0.0) is None for call in calls} == {True, False}


@pytest.mark.parametrize(("dice", "is_on_trial"), [(0.0, True), (0.199, True), (0.2, False), (0.999, False)])
def test_calls_without_a_user_are_assigned_at_random(dice: float, is_on_trial: bool) -> None:  # noqa: FBT001
    feature, _ = features(20)

    assert (assign_trial_share(feature, HOUSE, dice) is not None) is is_on_trial


def test_each_call_without_a_user_is_drawn_anew() -> None:
    world = World({"f": "red:m"}, '[features.f]\nsplit = { "blue:m" = 30 }')

    calls = [world.call() for _ in range(1000)]

    tried = Counter(called.tried[0] for called in calls)
    assert tried["blue:m"] / 1000 == pytest.approx(0.3, abs=0.05)


def test_a_feature_without_a_split_has_no_arms() -> None:
    feature = World({"f": "red:m"}).snapshot.features["f"]

    assert assign_trial_share(feature, Caller(user_id="ann"), 0.0) is None
