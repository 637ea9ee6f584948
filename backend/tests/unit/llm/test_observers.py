"""Who is told of attempts, in which order, and that nobody who is told changes what a call does."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from backend.tests.fakes.simulation import World, settle
from backend.utils.llm.execution.loop import Dispatch
from backend.utils.llm.execution.observers import ObserverRegistry
from backend.utils.llm.execution.observers.base import AttemptObserver
from backend.utils.llm.execution.steps import Try
from backend.utils.llm.failures import FailureCategory

if TYPE_CHECKING:
    from backend.utils.llm.failures import ClassifiedFailure
    from backend.utils.llm.receipt import Attempt

EVENTS = ["started", "received", "ended"]


class Recorder(AttemptObserver):
    """Notes what it is told, and fails where it should."""

    def __init__(self, fails_at: str = "") -> None:
        self.events: list[str] = []
        self._fails_at = fails_at

    def on_started(self, _: Try) -> None:
        self._note("started")

    def on_answer_received(self, _: Try) -> None:
        self._note("received")

    def on_ended(self, _: Try, __: Attempt, failure: ClassifiedFailure | None) -> None:
        self._note("ended", "" if failure is None else f" {failure.category}")

    def _note(self, event: str, more: str = "") -> None:
        self.events.append(event + more)
        if event == self._fails_at:
            raise RuntimeError("the observer is out")


def run(world: World, *observers: AttemptObserver) -> Dispatch:
    """A call whose first request fails and whose second is answered; ``observers`` after those of the process."""
    route = world.plan("f")
    told = ObserverRegistry(world.health).select_observers(route)
    for observer in observers:
        told = told.with_observer(observer)
    dispatch = Dispatch(route, world.health, clock=world.clock, observers=told)
    for category in (FailureCategory.MODEL_NOT_FOUND, None):
        step = dispatch.next_step()
        assert isinstance(step, Try)
        told.notify_answer_received(step)
        settle(dispatch, step, category)
    return dispatch


@pytest.fixture
def world() -> World:
    return World({"f": ["red:m", "blue:m"]})


def test_each_request_is_observed_from_its_start_to_its_end(world: World) -> None:
    recorder = Recorder()
    run(world, recorder)

    assert recorder.events == [
        *("started", "received", "ended model_not_found"),
        *("started", "received", "ended"),
    ]


@pytest.mark.parametrize("event", EVENTS)
def test_an_observer_that_raises_changes_no_outcome_and_stops_no_other_observer(
    world: World, caplog: pytest.LogCaptureFixture, event: str
) -> None:
    before, after = Recorder(fails_at=event), Recorder()
    with caplog.at_level(logging.ERROR):
        dispatch = run(world, before, after)

    assert [attempt.outcome for attempt in dispatch.attempts] == ["failed", "ok"]
    assert after.events == before.events
    assert "Recorder failed; the call goes on" in caplog.text


def told(world: World, *, is_balanced: bool) -> list[str]:
    """Who watches a call of ``f``."""
    observers = ObserverRegistry(world.health).select_observers(world.plan("f"), measures_load=is_balanced)
    return [type(observer).__name__.removesuffix("Observer") for observer in observers]


@pytest.mark.parametrize(
    ("row", "is_balanced", "watching"),
    [
        pytest.param("", False, [], id="plain"),
        pytest.param("", True, ["Load", "Latency"], id="another feature is balanced"),
        pytest.param("[features.f]\nlimits = { concurrency = 9 }", False, ["RateLimit"], id="limited"),
        pytest.param("[features.f]\nhedge = true", False, ["TailLatency"], id="hedged"),
        pytest.param('[features.f]\nselect = "cost"', False, ["Quality"], id="scored"),
        pytest.param('[features.f]\nsplit = { "blue:n" = 50 }', False, ["Experiment"], id="compared"),
    ],
)
def test_a_call_has_only_the_observers_that_its_route_needs(
    row: str,
    is_balanced: bool,  # noqa: FBT001
    watching: list[str],
) -> None:
    world = World({"f": ["red:m", "blue:m"]}, row)

    assert told(world, is_balanced=is_balanced) == [
        "SubstitutedModel",
        "Health",
        "DegradedService",
        *watching,
    ]


@pytest.mark.parametrize("select", ["ordered", "weighted", "least_used", "least_busy", "latency", "cost"])
def test_load_counts_as_soon_as_anything_in_the_table_is_chosen_by_more_than_its_place(select: str) -> None:
    world = World({"f": "red:m", "g": ["red:m", "blue:m"]}, f'[features.g]\nselect = "{select}"')

    assert world.snapshot.has_unordered_strategy is (select != "ordered")
