"""What one process learns of endpoints, and the others know at once."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from backend.tests.fakes.clock import Clock
from backend.tests.fakes.shared_memory import MemoryStore, SharedMemory
from backend.utils.llm.clock import Time
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.state.circuit_breaker import IN_A_ROW, OPEN_SECONDS
from backend.utils.llm.state.experiments import CONTROL, TrialStopConditions, VariantResults
from backend.utils.llm.state.health import RETRY_RESERVE, Circuit
from backend.utils.llm.state.session_affinity import ContextLadderRung
from backend.utils.llm.state.shared.composition import (
    connect_shared_health_tracker,
    make_shared_health_tracker,
)
from backend.utils.llm.state.shared.names import HashedNames

from .conftest import eventually

if TYPE_CHECKING:
    from backend.tests.fakes.valkey import Valkey
    from backend.utils.llm.state.shared.health import SharedHealthTracker
    from backend.utils.llm.state.shared.store import SharedEvent

LUNA = Circuit("openai:gpt-6-luna", "0123456789abcdef", "house", "east")
KEY = Circuit("openai", "0123456789abcdef", "house", "east")
SECRET = b"a secret of all processes"


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


class Fleet:
    """Processes that share what they learn.

    Args:
        clock: The time of all.
    """

    def __init__(self, clock: Clock) -> None:
        self.told: list[SharedEvent] = []
        self._memory = SharedMemory(clock)
        self._time = Time(clock=clock)
        MemoryStore(self._memory, lambda event, _: self.told.append(event))

    def join(self) -> SharedHealthTracker:
        """One more process."""

        def heard(event: SharedEvent, age: float) -> None:
            health.apply_remote_event(event, age)

        health = make_shared_health_tracker(MemoryStore(self._memory, heard), HashedNames(SECRET), self._time)
        return health


@pytest.fixture
def fleet(clock: Clock) -> Fleet:
    return Fleet(clock)


@pytest.fixture
def pair(fleet: Fleet) -> tuple[SharedHealthTracker, SharedHealthTracker]:
    return fleet.join(), fleet.join()


def opened(health: SharedHealthTracker) -> None:
    for _ in range(IN_A_ROW):
        health.record_failure(LUNA, FailureCategory.SERVER, was_probe=False)


def test_a_breaker_that_opens_in_one_is_open_in_all(
    pair: tuple[SharedHealthTracker, SharedHealthTracker],
) -> None:
    one, other = pair

    opened(one)

    why = other.find_unavailable_reason(LUNA)
    assert why is not None
    assert (why.kind, why.seconds, why.category) == ("open", OPEN_SECONDS, FailureCategory.SERVER)
    (resting,) = other.list_unhealthy_circuits()
    assert (resting.circuit.account, resting.failures) == ("east", IN_A_ROW)


def test_a_probe_that_succeeds_closes_it_in_all(
    pair: tuple[SharedHealthTracker, SharedHealthTracker], clock: Clock
) -> None:
    one, other = pair
    opened(one)
    clock.now += OPEN_SECONDS

    assert other.admit_request(LUNA, 10, last_resort=False) == "probe"
    other.record_answer(LUNA)

    assert one.find_unavailable_reason(LUNA) is None
    assert one.admit_request(LUNA, 10, last_resort=False) == "request"
    assert one.list_unhealthy_circuits() == ()


def test_one_process_probes_for_all(
    pair: tuple[SharedHealthTracker, SharedHealthTracker], clock: Clock
) -> None:
    one, other = pair
    opened(one)
    clock.now += OPEN_SECONDS
    assert one.admit_request(LUNA, 10, last_resort=False) == "probe"

    why = other.find_unavailable_reason(LUNA)

    assert why is not None
    assert why.kind == "probing"
    one.release_probes(LUNA)
    assert other.find_unavailable_reason(LUNA) is None


def test_a_probe_that_fails_lets_all_wait_twice_as_long(
    pair: tuple[SharedHealthTracker, SharedHealthTracker], clock: Clock
) -> None:
    one, other = pair
    opened(one)
    clock.now += OPEN_SECONDS
    other.admit_request(LUNA, 10, last_resort=False)

    other.record_failure(LUNA, FailureCategory.SERVER)

    for health in pair:
        why = health.find_unavailable_reason(LUNA)
        assert why is not None
        assert (why.kind, why.seconds) == ("open", 2 * OPEN_SECONDS)


def test_one_opening_counts_as_one_however_many_the_other_process_has_seen(
    pair: tuple[SharedHealthTracker, SharedHealthTracker], fleet: Fleet, clock: Clock
) -> None:
    one, _ = pair
    for _ in range(IN_A_ROW):
        one.start_cooldown(LUNA, 1, FailureCategory.RATE_LIMIT, is_guess=True)
        clock.now += 2
    late = fleet.join()
    late.start_cooldown(LUNA, 1, FailureCategory.RATE_LIMIT, is_guess=True)
    seen = late.find_unavailable_reason(LUNA)

    one.start_cooldown(LUNA, 30, FailureCategory.RATE_LIMIT, is_guess=True)

    now = late.find_unavailable_reason(LUNA)
    assert seen is not None
    assert now is not None
    assert now.openings == seen.openings + 1


@pytest.mark.parametrize("circuit", [LUNA, KEY])
def test_a_cooldown_is_known_to_all(
    pair: tuple[SharedHealthTracker, SharedHealthTracker], circuit: Circuit
) -> None:
    one, other = pair

    one.start_cooldown(circuit, 40, FailureCategory.RATE_LIMIT)

    why = other.find_unavailable_reason(LUNA, KEY)
    assert why is not None
    assert (why.kind, why.seconds, why.is_guess) == ("cooling", 40, False)


def test_people_are_told_once_not_by_every_process(
    pair: tuple[SharedHealthTracker, SharedHealthTracker],
) -> None:
    one, other = pair
    told: list[str] = []
    for health in pair:
        health.subscribe(lambda change: told.append(change.kind))

    opened(one)

    assert other.list_unhealthy_circuits()
    assert told == ["opened"]


def test_single_failures_and_answers_are_told_to_nobody(fleet: Fleet) -> None:
    health = fleet.join()

    health.record_failure(LUNA, FailureCategory.SERVER, was_probe=False)
    health.record_answer(LUNA, was_probe=False)
    health.credit_retry_budget("openai for the house")

    assert fleet.told == []


def test_retries_are_those_of_all(pair: tuple[SharedHealthTracker, SharedHealthTracker]) -> None:
    one, other = pair
    for _ in range(int(RETRY_RESERVE) - 1):
        assert one.try_spend_retry("openai for the house")

    assert other.try_spend_retry("openai for the house")

    assert not one.try_spend_retry("openai for the house")
    for _ in range(4):
        other.credit_retry_budget("openai for the house")
    assert one.try_spend_retry("openai for the house")


def test_a_retry_on_loan_is_lent_to_one_of_all(pair: tuple[SharedHealthTracker, SharedHealthTracker]) -> None:
    one, other = pair
    while one.try_spend_retry("openai for the house"):
        pass

    assert other.try_spend_retry("openai for the house", last_resort=True)

    assert not one.try_spend_retry("openai for the house", last_resort=True)


def test_a_trial_is_judged_by_what_all_have_seen(
    pair: tuple[SharedHealthTracker, SharedHealthTracker],
) -> None:
    stop = TrialStopConditions(after=4)
    reasons = []
    for number, health in zip(range(8), pair * 4, strict=True):
        experiments = health.traffic.experiments
        name, is_ok = (CONTROL, True) if number < 4 else ("openai:new", False)
        after = experiments.variant_results("f", name).with_request(is_ok=is_ok, seconds=1.0, cost=None)
        reasons.append(experiments.record_and_judge_trial("f", name, after, stop))

    assert [reason is not None for reason in reasons] == [False] * 7 + [True]
    for health in pair:
        assert health.traffic.experiments.variant_results("f", CONTROL) == VariantResults(4, 0, 4.0)
        assert health.traffic.experiments.trial_stop_reason("f", "openai:new") == reasons[-1]


def test_scores_are_those_of_all(pair: tuple[SharedHealthTracker, SharedHealthTracker]) -> None:
    one, other = pair

    one.traffic.quality_scores.record_score("f", "openai:new", 1.0)
    other.traffic.quality_scores.record_score("f", "openai:new", 0.0)

    for health in pair:
        assert (
            health.traffic.quality_scores.mean_score("f", "openai:new", min_count=2, max_age_seconds=60)
            == 0.5
        )


def test_a_conversation_stands_where_it_stood_whichever_process_it_comes_to(fleet: Fleet) -> None:
    one, other = fleet.join(), fleet.join()

    one.traffic.session_affinity.record_rung(
        "f", "alice's diary", ContextLadderRung("openai:long", 100_000), 50_000
    )

    assert other.traffic.session_affinity.find_last_rung("f", "alice's diary") == ContextLadderRung(
        "openai:long", 100_000
    )
    assert "alice" not in str(fleet.told)


def test_who_comes_later_hears_what_is_down(valkey: Valkey) -> None:
    ticks = count()
    time = Time(clock=lambda: 1000 + next(ticks) / 1e6)
    first = connect_shared_health_tracker(_secret(valkey.url), SECRET, time)
    opened(first)
    second = connect_shared_health_tracker(_secret(valkey.url), SECRET, time)
    try:
        assert eventually(lambda: second.find_unavailable_reason(LUNA) is not None)
        why = second.find_unavailable_reason(LUNA)
        assert why is not None
        assert why.kind == "open"
        assert OPEN_SECONDS - 5 < why.seconds <= OPEN_SECONDS
    finally:
        first.close()
        second.close()


def _secret(url: str) -> SecretStr:
    return SecretStr(url)
