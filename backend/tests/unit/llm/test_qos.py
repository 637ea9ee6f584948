"""What `get_qos_info` tells of a table stays true, whatever of it was kept from the time before."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.tests.fakes.simulation import KEYS, TODAY, table
from backend.utils.llm.caller import HOUSE
from backend.utils.llm.diagnostics.qos import make_qos_info
from backend.utils.llm.model_config import Table
from backend.utils.llm.patchbay import Patchbay
from backend.utils.llm.routing.plan import plan_route
from backend.utils.llm.routing.route import Needs
from backend.utils.llm.testing.virtual_time import VirtualTime
from backend.utils.llm.types import FailureCategory

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.utils.llm.state.health import Circuit

FEATURES = {
    "plain": ["red:m", "blue:m"],
    "alone": "red:m",
    "third": ["red:small", "green:m"],
    "keyless": ["dark:m", "blue:m"],
    "grouped": "group:both",
    "limited": ["red:n", "blue:m"],
    "tried": ["red:m"],
}
MORE = """
[providers.dark]
api = "openai"
base_url = "https://dark.example/v1"
api_key_env = "DARK_KEY"
[groups.both]
endpoints = ["red:m", "blue:m"]
select = "least_busy"
[features.limited]
limits = { requests = "2/minute" }
[features.tried]
split = { "blue:m" = 50 }
"""


def patchbay(virtual: VirtualTime) -> Patchbay:
    return Patchbay(Table(text=table(FEATURES, MORE), environ=KEYS), time=virtual.time)


def circuits(of: Patchbay) -> list[Circuit]:
    """Those of every endpoint, and of every key."""
    routes = [plan_route(of.table.snapshot, name, HOUSE, Needs(), today=TODAY) for name in FEATURES]
    asked = [candidate for route in routes for candidate in route.candidates]
    return sorted(
        {candidate.endpoint_circuit for candidate in asked} | {one.credential_circuit for one in asked}
    )


events = st.tuples(
    st.sampled_from(["cool", "guess", "fail", "answer", "lacks", "take", "nothing"]),
    st.integers(0, 20),
    st.sampled_from([0.5, 10.0, 600.0]),
)


def happen(made: Patchbay, virtual: VirtualTime, event: tuple[str, int, float]) -> None:
    what, place, seconds = event
    known, health = circuits(made), made.health
    circuit = known[place % len(known)]
    match what:
        case "cool" | "guess":
            health.start_cooldown(circuit, seconds, FailureCategory.RATE_LIMIT, is_guess=what == "guess")
        case "fail":
            for _ in range(5):
                health.record_failure(circuit, FailureCategory.SERVER)
        case "answer":
            health.record_answer(circuit)
        case "lacks":
            with health.traffic.lock:
                health.traffic.unsupported.record_rejection(
                    (made.table.snapshot.hash, circuit), "temperature"
                )
        case "take":
            take(made, place)
        case _:
            pass
    virtual.sleep(seconds)


def take(made: Patchbay, number: int) -> None:
    """What a request of the feature with limits sets aside."""
    route, traffic = made.explain("limited"), made.health.traffic
    with traffic.lock:
        for candidate in route.candidates[:1]:
            traffic.rate_limiter.count_request(candidate.meters, 10, number + 1000, traffic.clock() + 5)


@given(history=st.lists(events, max_size=12))
def test_whatever_happens_it_is_told_as_if_nothing_had_been_kept(
    history: list[tuple[str, int, float]],
) -> None:
    virtual = VirtualTime()
    made = patchbay(virtual)

    for event in history:
        made.get_qos_info()
        happen(made, virtual, event)

    fresh, _ = make_qos_info(made.table, None, made._planned, made.health, virtual.now())
    told = made.get_qos_info()
    assert (told.features, told.providers, told.retirements) == (
        fresh.features,
        fresh.providers,
        fresh.retirements,
    )


@pytest.mark.parametrize("rests", ["red:m", "blue:m", "green:m"])
def test_what_rested_when_it_was_told_is_told_anew_when_it_is_back(rests: str) -> None:
    virtual = VirtualTime()
    made = patchbay(virtual)
    for circuit in circuits(made):
        if circuit.endpoint == rests:
            made.health.start_cooldown(circuit, 10, FailureCategory.RATE_LIMIT)
    made.get_qos_info()

    virtual.sleep(11)

    assert [feature.problem for feature in made.get_qos_info().features.values()] == [None] * len(FEATURES)


def counting(made: Patchbay, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Which features were planned anew to tell of them all."""
    usual, planned = made._planned, []

    def seen(feature: str, *args: Any, **settings: Any) -> object:
        planned.append(feature)
        return usual(feature, *args, **settings)

    def told() -> list[str]:
        planned.clear()
        made.get_qos_info()
        return list(planned)

    monkeypatch.setattr(made, "_planned", seen)
    return told


MOVING = ["grouped", "limited", "tried"]
"""What does not depend on table and health alone."""


class TestWhatIsPlannedAnew:
    """Only what may have changed."""

    def test_what_does_not_depend_on_the_table_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        told = counting(patchbay(VirtualTime()), monkeypatch)

        assert told() == sorted(FEATURES)
        assert told() == MOVING

    def test_whose_endpoint_rests(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = patchbay(VirtualTime())
        told = counting(made, monkeypatch)
        told()
        green = next(circuit for circuit in circuits(made) if circuit.endpoint == "green:m")

        made.health.start_cooldown(green, 60, FailureCategory.RATE_LIMIT)

        assert told() == sorted([*MOVING, "third"])

    def test_all_of_it_on_the_next_day(self, monkeypatch: pytest.MonkeyPatch) -> None:
        virtual = VirtualTime()
        told = counting(patchbay(virtual), monkeypatch)
        told()

        virtual.sleep(timedelta(days=1).total_seconds())

        assert told() == sorted(FEATURES)


def test_who_runs_a_feature_can_do_what_its_row_says_that_it_needs() -> None:
    """The demo model cannot call tools: it runs no feature that has them, though a call without tools would reach it."""
    text = """
demo = "local:tiny"
[providers.openai]
api = "openai"
api_key_env = "OPENAI_API_KEY"
[providers.local]
api = "openai"
[models."local:tiny"]
tools = false
[profiles.premium]
agent = "openai:gpt-6-luna"
chat = "openai:gpt-6-luna"
[profiles.byok]
extends = "premium"
[features.agent]
tools = true
"""
    features = Patchbay(Table(text=text, environ={})).get_qos_info().features

    assert (features["chat"].endpoint, features["agent"].endpoint) == ("local:tiny", None)
    assert "cannot call tools" in str(features["agent"].problem)
