"""What is remembered of endpoints: breakers, cooldowns, probes, and how many retries are left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.tests.fakes.clock import Clock
from backend.tests.fakes.threads import hammer
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.state.circuit_breaker import CircuitBreaker
from backend.utils.llm.state.health import (
    LONGEST_COOLING,
    MOST_CIRCUITS,
    Circuit,
    HealthTracker,
    RetryBudget,
    UnavailableReason,
)

CIRCUIT = Circuit("red:m", "key")
OTHER = Circuit("red:m", "another key")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> HealthTracker:
    return HealthTracker(clock)


def opened(times: int = 1) -> CircuitBreaker:
    """A breaker that opened at 0, and whose probes failed the moment that they were allowed."""
    breaker = CircuitBreaker()
    for second in range(5):
        breaker = breaker.with_failure(second / 1000)
    for _ in range(times - 1):
        assert breaker.opens_until is not None
        breaker = breaker.with_failure(breaker.opens_until)
    return breaker


def open_up(health: HealthTracker, circuit: Circuit = CIRCUIT) -> None:
    for _ in range(5):
        health.record_failure(circuit, FailureCategory.SERVER)


class TestBreaker:
    """When it opens, for how long, and when it closes."""

    def test_it_opens_with_the_fifth_failure_in_a_row(self) -> None:
        breaker = CircuitBreaker()
        states = []
        for _ in range(5):
            breaker = breaker.with_failure(0.0)
            states.append(breaker.state_at(0.0))

        assert states == ["closed"] * 4 + ["open"]

    def test_a_success_in_between_starts_the_row_anew(self) -> None:
        breaker = CircuitBreaker()
        for _ in range(3):
            for _ in range(4):
                breaker = breaker.with_failure(0.0)
            for _ in range(5):
                breaker = breaker.with_success(0.0)

        assert breaker.state_at(0.0) == "closed"

    def test_five_in_a_row_open_it_however_long_they_take(self) -> None:
        breaker = CircuitBreaker()
        for hour in range(5):
            breaker = breaker.with_failure(hour * 3600)

        assert breaker.state_at(4 * 3600) == "open"

    @pytest.mark.parametrize(
        ("outcomes", "gap", "state"),
        [
            ("ssff" * 5, 3.0, "open"),
            ("ss" + "sf" * 9, 3.0, "closed"),  # nine of twenty
            ("ssff" * 5, 3.2, "closed"),  # the first of the twenty is more than a minute old
            ("ssff" * 5, 180.0, "closed"),  # twenty in an hour
            ("ssff" * 50, 180.0, "closed"),
        ],
    )
    def test_it_opens_when_half_of_the_last_twenty_in_a_minute_failed(
        self, outcomes: str, gap: float, state: str
    ) -> None:
        breaker, now = CircuitBreaker(), 0.0
        for outcome in outcomes:
            now += gap
            breaker = breaker.with_failure(now) if outcome == "f" else breaker.with_success(now)

        assert breaker.state_at(now) == state

    def test_fewer_than_twenty_open_nothing_however_many_of_them_failed(self) -> None:
        breaker = CircuitBreaker()
        for number in range(19):
            breaker = breaker.with_success(number) if number % 5 == 4 else breaker.with_failure(number)

        assert breaker.state_at(19) == "closed"

    def test_thirty_seconds_double_to_three_hundred(self) -> None:
        breaker, lengths = opened(), []
        for _ in range(6):
            assert breaker.opens_until is not None
            now = breaker.opens_until
            breaker = breaker.with_failure(now)
            lengths.append((breaker.opens_until or 0) - now)

        assert opened().opens_until == pytest.approx(30, abs=0.1)
        assert lengths == pytest.approx([60, 120, 240, 300, 300, 300])

    def test_it_is_open_until_its_time_and_half_open_from_then_on(self) -> None:
        breaker = opened()
        assert breaker.opens_until is not None

        assert breaker.state_at(breaker.opens_until - 0.001) == "open"
        assert breaker.state_at(breaker.opens_until) == "half open"
        assert breaker.state_at(breaker.opens_until + 1e6) == "half open"

    @pytest.mark.parametrize("times", [1, 2, 6])
    def test_one_success_closes_it_and_all_is_forgotten(self, times: int) -> None:
        breaker = opened(times)

        assert breaker.with_success(breaker.opens_until or 0) == CircuitBreaker()

    def test_failures_while_it_is_open_make_it_no_longer(self) -> None:
        breaker = opened()

        for _ in range(15):  # they were under way when it opened
            breaker = breaker.with_failure(1.0)

        assert breaker.opens_until == opened().opens_until

    def test_it_has_no_failures_only_without_one_to_remember(self) -> None:
        assert CircuitBreaker().has_no_failures
        assert CircuitBreaker().with_success(0.0).has_no_failures
        assert not CircuitBreaker().with_failure(0.0).has_no_failures
        assert not opened().has_no_failures

    def test_it_has_no_failures_again_after_twenty_successes(self) -> None:
        breaker = CircuitBreaker().with_failure(0.0)
        for _ in range(20):
            breaker = breaker.with_success(0.0)

        assert breaker.has_no_failures

    @given(events=st.lists(st.tuples(st.sampled_from(["ok", "failed"]), st.floats(0, 400)), max_size=60))
    def test_every_transition_is_a_legal_one(self, events: list[tuple[str, float]]) -> None:
        breaker, now = CircuitBreaker(), 0.0
        for what, gap in events:
            earlier = breaker.state_at(now)
            now += gap
            before = breaker.state_at(now)
            breaker = breaker.with_success(now) if what == "ok" else breaker.with_failure(now)
            after = breaker.state_at(now)

            assert (earlier, before) in {
                ("closed", "closed"),
                ("open", "open"),
                ("open", "half open"),
                ("half open", "half open"),
            }
            if what == "ok":
                assert after == "closed"
            else:
                assert (before, after) in {
                    ("closed", "closed"),
                    ("closed", "open"),
                    ("open", "open"),
                    ("half open", "open"),
                }
            assert len(breaker.recent) <= 20
            assert breaker.opens_until is None or breaker.opens_until - now <= 300


class TestBudget:
    """Retries are earned by answers, so an outage earns none; to those with nothing else left a few are lent."""

    def test_the_reserve_is_ten(self) -> None:
        budget = RetryBudget()

        assert [budget.try_spend_retry(0.0) for _ in range(11)] == [True] * 10 + [False]

    def test_ten_answers_earn_three_retries(self) -> None:
        budget = RetryBudget()
        while budget.try_spend_retry(0.0):
            pass

        for _ in range(11):  # the eleventh is for what floats lose
            budget.credit_answers(0.0)

        assert [budget.try_spend_retry(0.0) for _ in range(4)] == [True] * 3 + [False]

    def test_what_is_lent_follows_later_and_later(self) -> None:
        budget = RetryBudget()

        lent = [now / 2 for now in range(1000) if budget.try_borrow_retry(now / 2)]

        assert lent == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 63.5, 127.5, 255.5]

    def test_after_an_answer_one_is_lent_at_once(self) -> None:
        budget = RetryBudget()
        for now in range(100):
            budget.try_borrow_retry(now)

        budget.credit_answers(99)

        assert [
            budget.try_borrow_retry(100),
            budget.try_borrow_retry(100.4),
            budget.try_borrow_retry(100.5),
        ] == [True, False, True]

    @pytest.mark.parametrize(("later", "left"), [(0.0, 309), (10.0, 159), (300.0, 10)])
    def test_no_more_than_the_reserve_is_saved_for_long(self, later: float, left: int) -> None:
        budget = RetryBudget()
        for _ in range(1000):
            budget.credit_answers(0.0)

        assert sum(budget.try_spend_retry(later) for _ in range(1000)) == pytest.approx(left, abs=1)

    @given(events=st.lists(st.tuples(st.booleans(), st.floats(0, 20)), max_size=400))
    def test_whatever_the_order_the_bound_holds(self, events: list[tuple[bool, float]]) -> None:
        budget, earned, spent, now = RetryBudget(), 0, 0, 0.0
        for is_retry, later in events:
            now += later
            if is_retry:
                spent += budget.try_spend_retry(now)
            else:
                budget.credit_answers(now)
                earned += 1
            assert spent <= 10 + 0.3 * earned + 1e-9


class TestCooling:
    """What is left alone because it was asked for."""

    def test_a_cooldown_lasts_its_time_and_no_longer(self, health: HealthTracker, clock: Clock) -> None:
        health.start_cooldown(CIRCUIT, 60, FailureCategory.RATE_LIMIT)

        clock.now = 20
        assert health.find_unavailable_reason(CIRCUIT) == UnavailableReason(
            40, FailureCategory.RATE_LIMIT, "cooling"
        )
        clock.now = 60
        assert health.find_unavailable_reason(CIRCUIT) is None

    def test_after_it_one_request_tries_and_an_answer_lets_the_others_follow(
        self, health: HealthTracker, clock: Clock
    ) -> None:
        health.start_cooldown(CIRCUIT, 60, FailureCategory.RATE_LIMIT)
        clock.now = 60

        assert health.admit_request(CIRCUIT, 10, last_resort=False) == "probe"
        assert isinstance(waiting := health.admit_request(CIRCUIT, 10, last_resort=True), UnavailableReason)
        assert waiting.kind == "probing"
        health.record_answer(CIRCUIT)
        assert health.admit_request(CIRCUIT, 10, last_resort=False) == "request"
        assert len(health) == 0

    def test_after_a_keys_too(self, health: HealthTracker, clock: Clock) -> None:
        key, sibling = Circuit("red", "key"), Circuit("red:n", "key")
        health.start_cooldown(key, 60, FailureCategory.QUOTA)
        clock.now = 60

        assert health.admit_request(CIRCUIT, 10, last_resort=False, key_circuit=key) == "probe"
        assert isinstance(
            health.admit_request(sibling, 10, last_resort=False, key_circuit=key), UnavailableReason
        )
        health.record_answer(CIRCUIT, key_circuit=key)
        assert health.admit_request(sibling, 10, last_resort=False, key_circuit=key) == "request"

    @pytest.mark.parametrize("category", [FailureCategory.SERVER, None])
    def test_a_probe_that_says_nothing_of_it_frees_its_place_for_one_other(
        self, health: HealthTracker, clock: Clock, category: FailureCategory | None
    ) -> None:
        key = Circuit("red", "key")
        for circuit in (CIRCUIT, key):
            health.start_cooldown(circuit, 60, FailureCategory.RATE_LIMIT)
        clock.now = 60
        assert health.admit_request(CIRCUIT, 10, last_resort=False, key_circuit=key) == "probe"

        if category is None:
            health.release_probes(CIRCUIT, key)
        else:
            health.record_failure(CIRCUIT, category, key_circuit=key)

        assert health.admit_request(CIRCUIT, 10, last_resort=False, key_circuit=key) == "probe"
        assert isinstance(
            health.admit_request(CIRCUIT, 10, last_resort=False, key_circuit=key), UnavailableReason
        )

    def test_an_answer_to_an_older_request_does_not_end_it(self, health: HealthTracker) -> None:
        health.start_cooldown(CIRCUIT, 60, FailureCategory.RATE_LIMIT, is_guess=True)

        health.record_answer(CIRCUIT, was_probe=False)

        assert health.find_unavailable_reason(CIRCUIT) is not None

    def test_a_failure_of_an_older_request_does_not_free_the_probes_place(
        self, health: HealthTracker, clock: Clock
    ) -> None:
        health.start_cooldown(CIRCUIT, 60, FailureCategory.RATE_LIMIT)
        clock.now = 60
        health.admit_request(CIRCUIT, 10, last_resort=False)

        health.record_failure(CIRCUIT, FailureCategory.SERVER, was_probe=False)

        assert isinstance(health.admit_request(CIRCUIT, 10, last_resort=True), UnavailableReason)

    @pytest.mark.parametrize(
        ("category", "is_guess", "probed"),
        [
            (FailureCategory.RATE_LIMIT, True, True),
            (FailureCategory.RATE_LIMIT, False, False),
            (FailureCategory.MODEL_NOT_FOUND, True, False),
        ],
    )
    def test_only_one_that_nobody_asked_for_is_probed_before_its_time(
        self, health: HealthTracker, category: FailureCategory, *, is_guess: bool, probed: bool
    ) -> None:
        health.start_cooldown(CIRCUIT, 60, category, is_guess=is_guess)

        assert isinstance(health.admit_request(CIRCUIT, 10, last_resort=False), UnavailableReason)
        assert (health.admit_request(CIRCUIT, 10, last_resort=True) == "probe") is probed

    def test_what_the_provider_tells_a_probe_counts_more_than_a_guess(self, health: HealthTracker) -> None:
        health.start_cooldown(CIRCUIT, 60, FailureCategory.RATE_LIMIT, is_guess=True)
        health.start_cooldown(CIRCUIT, 5, FailureCategory.RATE_LIMIT)

        assert health.find_unavailable_reason(CIRCUIT) == UnavailableReason(
            5, FailureCategory.RATE_LIMIT, "cooling"
        )

    def test_a_hint_of_days_counts_as_an_hour(self, health: HealthTracker) -> None:
        health.start_cooldown(CIRCUIT, 1e9, FailureCategory.RATE_LIMIT)

        rest = health.find_unavailable_reason(CIRCUIT)
        assert rest is not None
        assert rest.seconds == LONGEST_COOLING

    def test_another_key_does_not_cool_down(self, health: HealthTracker) -> None:
        health.start_cooldown(CIRCUIT, 60, FailureCategory.QUOTA)

        assert health.find_unavailable_reason(OTHER) is None

    def test_a_shorter_hint_does_not_end_a_longer_one(self, health: HealthTracker) -> None:
        # The second one is of a request that was under way when the first came.
        health.start_cooldown(CIRCUIT, 60, FailureCategory.RATE_LIMIT)
        health.start_cooldown(CIRCUIT, 0.2, FailureCategory.RATE_LIMIT)

        rest = health.find_unavailable_reason(CIRCUIT)
        assert rest is not None
        assert rest.seconds == 60

    def test_a_longer_hint_goes_over_a_shorter_one(self, health: HealthTracker) -> None:
        health.start_cooldown(CIRCUIT, 5, FailureCategory.RATE_LIMIT)
        health.start_cooldown(CIRCUIT, 600, FailureCategory.MODEL_NOT_FOUND)

        assert health.find_unavailable_reason(CIRCUIT) == UnavailableReason(
            600, FailureCategory.MODEL_NOT_FOUND, "cooling"
        )

    @pytest.mark.parametrize("last_resort", [False, True])
    def test_no_other_call_is_admitted_during_a_probe(
        self, health: HealthTracker, *, last_resort: bool
    ) -> None:
        health.start_cooldown(CIRCUIT, 60, FailureCategory.RATE_LIMIT)

        rest = health.admit_request(CIRCUIT, 10, last_resort=last_resort)
        assert isinstance(rest, UnavailableReason)
        assert rest.kind == "cooling"

    def test_an_answer_to_an_earlier_request_does_not_end_it(self, health: HealthTracker) -> None:
        health.start_cooldown(CIRCUIT, 60, FailureCategory.RATE_LIMIT)
        health.record_answer(CIRCUIT)

        assert health.find_unavailable_reason(CIRCUIT) is not None


class TestProbes:
    """Whom a breaker lets through."""

    def test_a_closed_breaker_admits_every_call(self, health: HealthTracker) -> None:
        for _ in range(4):
            health.record_failure(CIRCUIT, FailureCategory.SERVER)

        assert [health.admit_request(CIRCUIT, 10, last_resort=False) for _ in range(100)] == ["request"] * 100

    def test_an_open_breaker_admits_no_call(self, health: HealthTracker) -> None:
        open_up(health)

        assert health.admit_request(CIRCUIT, 10, last_resort=False) == UnavailableReason(
            30, FailureCategory.SERVER, "open"
        )

    @pytest.mark.parametrize(("now", "last_resort"), [(30.0, False), (30.0, True), (1.0, True)])
    def test_one_probe_at_a_time(
        self, health: HealthTracker, clock: Clock, now: float, *, last_resort: bool
    ) -> None:
        open_up(health)
        clock.now = now

        verdicts = [health.admit_request(CIRCUIT, 10, last_resort=last_resort) for _ in range(20)]

        assert verdicts[0] == "probe"
        assert {
            verdict.kind if isinstance(verdict, UnavailableReason) else verdict for verdict in verdicts[1:]
        } == {"probing"}

    def test_a_failed_probe_opens_it_again_for_twice_as_long(
        self, health: HealthTracker, clock: Clock
    ) -> None:
        open_up(health)
        clock.now = 30
        health.admit_request(CIRCUIT, 10, last_resort=False)
        health.record_failure(CIRCUIT, FailureCategory.TIMEOUT)

        assert health.find_unavailable_reason(CIRCUIT) == UnavailableReason(
            60, FailureCategory.TIMEOUT, "open"
        )

    def test_failed_probes_before_its_time_do_not_make_it_longer(
        self, health: HealthTracker, clock: Clock
    ) -> None:
        # Calls that had nothing else to try: ten of them in a second of outage are no reason to stay away for minutes.
        open_up(health)
        for tenth in range(10):
            clock.now = tenth / 10
            assert health.admit_request(CIRCUIT, 10, last_resort=True) == "probe"
            health.record_failure(CIRCUIT, FailureCategory.SERVER)

        rest = health.find_unavailable_reason(CIRCUIT)
        assert rest is not None
        assert rest.seconds <= 30

    def test_an_answered_probe_closes_the_breaker_for_every_caller(
        self, health: HealthTracker, clock: Clock
    ) -> None:
        open_up(health)
        clock.now = 30
        health.admit_request(CIRCUIT, 10, last_resort=False)
        health.record_answer(CIRCUIT)

        assert [health.admit_request(CIRCUIT, 10, last_resort=False) for _ in range(20)] == ["request"] * 20
        assert len(health) == 0

    def test_a_released_probe_makes_room_for_one(self, health: HealthTracker, clock: Clock) -> None:
        open_up(health)
        clock.now = 30
        health.admit_request(CIRCUIT, 10, last_resort=False)
        health.release_probes(CIRCUIT)

        assert health.admit_request(CIRCUIT, 10, last_resort=False) == "probe"
        assert health.admit_request(CIRCUIT, 10, last_resort=False) != "probe"

    def test_a_probe_that_is_never_settled_is_forgotten(self, health: HealthTracker, clock: Clock) -> None:
        open_up(health)
        clock.now = 30
        health.admit_request(CIRCUIT, 10, last_resort=False)

        clock.now = 39.9
        assert health.admit_request(CIRCUIT, 10, last_resort=False) != "probe"
        clock.now = 60
        assert health.admit_request(CIRCUIT, 10, last_resort=False) == "probe"

    def test_a_release_without_a_probe_changes_nothing(self, health: HealthTracker) -> None:
        health.release_probes(CIRCUIT)
        assert len(health) == 0

        open_up(health)
        health.release_probes(CIRCUIT)
        assert health.find_unavailable_reason(CIRCUIT) == UnavailableReason(
            30, FailureCategory.SERVER, "open"
        )

    def test_another_keys_breaker_is_another(self, health: HealthTracker) -> None:
        open_up(health)

        assert health.admit_request(OTHER, 10, last_resort=False) == "request"
        assert health.find_unavailable_reason(OTHER) is None


class TestMemory:
    """It is bounded, and keeps no more than it must."""

    def test_answers_of_healthy_endpoints_leave_no_trace(self, health: HealthTracker) -> None:
        for number in range(1000):
            circuit = Circuit("red:m", str(number))
            assert health.admit_request(circuit, 10, last_resort=False) == "request"
            health.record_answer(circuit)
            health.release_probes(circuit)

        assert len(health) == 0

    def test_a_circuit_without_a_fault_left_is_forgotten(self, health: HealthTracker) -> None:
        health.record_failure(CIRCUIT, FailureCategory.SERVER)
        for _ in range(19):
            health.record_answer(CIRCUIT)
        assert len(health) == 1
        health.record_answer(CIRCUIT)

        assert len(health) == 0

    def test_a_pause_of_no_length_leaves_no_trace(self, health: HealthTracker) -> None:
        health.start_cooldown(CIRCUIT, 0.0, FailureCategory.RATE_LIMIT)

        assert len(health) == 0

    def test_it_holds_ten_thousand_and_forgets_what_was_touched_longest_ago(
        self, health: HealthTracker
    ) -> None:
        circuits = [Circuit("red:m", str(number)) for number in range(MOST_CIRCUITS)]
        for circuit in circuits:
            health.start_cooldown(circuit, 60, FailureCategory.RATE_LIMIT)
        health.record_failure(circuits[0], FailureCategory.SERVER)

        health.start_cooldown(CIRCUIT, 60, FailureCategory.RATE_LIMIT)

        assert len(health) == MOST_CIRCUITS
        assert health.find_unavailable_reason(circuits[0]) is not None
        assert health.find_unavailable_reason(circuits[1]) is None
        assert health.find_unavailable_reason(CIRCUIT) is not None

    def test_each_provider_has_a_budget_of_its_own(self, health: HealthTracker) -> None:
        assert sum(health.try_spend_retry("red") for _ in range(50)) == 10
        assert sum(health.try_spend_retry("blue") for _ in range(50)) == 10


@pytest.mark.usefixtures("_hectic")
class TestThreads:
    """Many threads share it."""

    def test_no_failure_is_lost(self, health: HealthTracker) -> None:
        def work(_: int) -> None:
            health.record_failure(CIRCUIT, FailureCategory.SERVER)

        for _ in range(20):
            hammer(work, threads=4)
            assert health._conditions[CIRCUIT].breaker.in_a_row == 4
            health.record_answer(CIRCUIT)

    def test_one_of_many_that_ask_at_once_gets_the_probe(self, health: HealthTracker, clock: Clock) -> None:
        open_up(health)
        for round_ in range(1, 21):
            clock.now = round_ * 1000.0
            verdicts = hammer(lambda _: health.admit_request(CIRCUIT, 10, last_resort=False))
            assert verdicts.count("probe") == 1

    def test_no_retry_is_granted_twice(self, health: HealthTracker) -> None:
        granted = hammer(lambda _: sum(health.try_spend_retry("red") for _ in range(20)))

        assert sum(granted) == 10

    def test_whatever_they_do_at_once_nothing_breaks_and_nothing_is_left_behind(
        self, health: HealthTracker
    ) -> None:
        def work(number: int) -> None:
            for turn in range(150):
                circuit = Circuit("red:m", str((number + turn) % 5))
                if not isinstance(health.admit_request(circuit, 1, last_resort=True), UnavailableReason):
                    health.record_failure(circuit, FailureCategory.SERVER)
                health.find_unavailable_reason(circuit)
                health.start_cooldown(circuit, 0.0, FailureCategory.RATE_LIMIT)
                health.release_probes(circuit)
                health.record_answer(circuit)
                health.credit_retry_budget("red")
                health.try_spend_retry("red")

        hammer(work)
        for key in range(5):
            for _ in range(21):
                health.record_answer(Circuit("red:m", str(key)))

        assert len(health) == 0
