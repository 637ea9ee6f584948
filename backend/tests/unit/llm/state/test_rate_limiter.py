"""What may go out under limits, and who waits for room."""

from __future__ import annotations

import heapq
import itertools
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.tests.fakes.clock import Clock
from backend.utils.llm.rate_limits import Limits
from backend.utils.llm.state.rate_limiter import (
    GRACE_SECONDS,
    LONGEST_POLL,
    MOST_SCOPES,
    MeteredScope,
    RateLimiter,
    find_first_quota_reset,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
LONG = 1e9


class Clocks(Clock):
    """The wall clock as well."""

    def epoch(self) -> float:
        return NOON + self.now


@pytest.fixture
def clock() -> Clocks:
    return Clocks()


@pytest.fixture
def meters(clock: Clocks) -> RateLimiter:
    return RateLimiter(clock, clock.epoch)


def meter(scope: str = "key", **limits: Any) -> MeteredScope:
    return MeteredScope(scope, f"with {scope}", Limits.model_validate(limits))


def send(meters: RateLimiter, of: Sequence[MeteredScope], count: int, tokens: int = 0) -> int:
    """Let as many of ``count`` requests go out as may; how many did."""
    went = 0
    for number in range(count):
        if meters.find_exceeded_limit(of, tokens) is None:
            meters.count_request(of, tokens, number, LONG)
            went += 1
    return went


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"requests": "3/minute"}, "3 requests per minute with key"),
        ({"tokens": "350/minute"}, "350 tokens per minute with key"),
        ({"concurrency": 3}, "3 requests at once with key"),
    ],
)
def test_a_request_over_a_limit_is_refused_with_the_limits_name(
    meters: RateLimiter, limits: dict[str, Any], words: str
) -> None:
    key = meter(**limits)

    assert send(meters, [key], 10, tokens=100) == 3
    full = meters.find_exceeded_limit([key], 100)
    assert full is not None
    assert (full.scope, full.what, full.is_quota) == ("key", words, False)


def test_of_several_limits_the_longest_is_reported(meters: RateLimiter) -> None:
    of = [meter("feature", requests=["1/second", "1/day"]), meter("key", requests="1/hour")]
    send(meters, of, 1)

    full = meters.find_exceeded_limit(of, 0)

    assert full is not None
    assert (full.what, full.is_quota, full.seconds) == ("1 requests per day with feature", True, 12 * 3600)


def test_each_scope_counts_for_itself(meters: RateLimiter) -> None:
    send(meters, [meter("ann", requests="1/minute")], 1)

    assert meters.find_exceeded_limit([meter("ann", requests="1/minute")], 0) is not None
    assert meters.find_exceeded_limit([meter("bob", requests="1/minute")], 0) is None


def test_what_asks_for_more_than_there_ever_is_never_goes_out(meters: RateLimiter) -> None:
    full = meters.find_exceeded_limit([meter(tokens="100/minute")], 101)

    assert full is not None
    assert full.seconds == math.inf


events = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "settle", "lose"]),
        st.integers(0, 60),
        st.integers(0, 60),
        st.floats(0, 50),
    ),
    max_size=80,
)


@given(events=events)
def test_whatever_the_order_no_limit_is_ever_exceeded(events: list[tuple[str, int, int, float]]) -> None:
    """What each request takes is set aside first; what it did not use of it is given back."""
    clock = Clocks()
    meters = RateLimiter(clock, clock.epoch)
    of = [
        meter("key", requests="20/minute", tokens=["300/minute", "500/day"], concurrency=4),
        meter("feature", concurrency=3),
    ]
    in_flight: dict[int, tuple[int, float, float]] = {}
    used: list[tuple[float, int]] = []
    for number, (what, tokens, actual, pause) in enumerate(events):
        clock.now += pause
        if what == "take" and meters.find_exceeded_limit(of, tokens) is None:
            meters.count_request(of, tokens, number, clock.now + 100)
            in_flight[number] = (tokens, clock.epoch(), clock.now + 100)
        elif what == "settle" and in_flight:
            settled, (asked, taken, until) = in_flight.popitem()
            meters.settle_request(of, settled, min(actual, asked))
            used.append((taken, min(actual, asked) if until > clock.now else asked))

        counts = [until for _, _, until in in_flight.values() if until > clock.now]
        known = [*used, *((taken, asked) for asked, taken, _ in in_flight.values())]
        assert len(counts) <= 3
        assert sum(amount for at, amount in known if at + 60 > clock.epoch()) <= 300
        assert sum(amount for at, amount in known if at // 86_400 == clock.epoch() // 86_400) <= 500


def test_what_was_not_used_is_given_back(meters: RateLimiter) -> None:
    key = meter(tokens="100/minute")
    meters.count_request([key], 100, 1, LONG)
    assert meters.find_exceeded_limit([key], 1) is not None

    meters.settle_request([key], 1, 30)

    assert meters.find_exceeded_limit([key], 70) is None
    assert meters.find_exceeded_limit([key], 71) is not None


def test_what_was_used_beyond_that_counts_too(meters: RateLimiter) -> None:
    key = meter(tokens="100/minute")
    meters.count_request([key], 0, 1, LONG)

    meters.settle_request([key], 1, 80)

    assert meters.find_exceeded_limit([key], 21) is not None


def test_the_request_itself_is_not_given_back(meters: RateLimiter) -> None:
    key = meter(requests="1/minute", tokens="100/minute")
    meters.count_request([key], 50, 1, LONG)

    meters.settle_request([key], 1, 0)

    assert meters.find_exceeded_limit([key], 50) is not None


def test_a_request_that_never_arrived_counts_for_nothing(meters: RateLimiter) -> None:
    key = meter(requests="1/minute", tokens="100/minute")
    meters.count_request([key], 100, 1, LONG)

    meters.settle_request([key], 1, 0, reached_provider=False)

    assert meters.find_exceeded_limit([key], 100) is None


def test_a_request_of_which_nobody_knows_what_it_used_costs_what_was_set_aside(meters: RateLimiter) -> None:
    key = meter(tokens="100/minute")
    meters.count_request([key], 70, 1, LONG)

    meters.settle_request([key], 1, None)

    assert meters.find_exceeded_limit([key], 31) is not None


def test_an_answer_that_is_still_tested_gives_back_what_it_did_not_use_though_others_began(
    meters: RateLimiter,
) -> None:
    key = meter(tokens="100/minute")
    meters.count_request([key], 60, 1, LONG)
    meters.mark_request_answered([key], 1)
    meters.count_request([key], 10, 2, LONG)

    meters.settle_request([key], 1, 10)

    assert meters.find_exceeded_limit([key], 80) is None


def test_the_wall_clock_may_jump_and_no_minute_holds_more(clock: Clocks) -> None:
    jump = iter([0.0, 3600.0, -3600.0, 0.0, 0.0, 0.0])
    meters, key = RateLimiter(clock, lambda: clock.epoch() + next(jump)), meter(requests="1/minute")
    meters.count_request([key], 0, 1, LONG)

    for clock.now in (1.0, 59.0):
        assert meters.find_exceeded_limit([key], 0) is not None
    clock.now = 60.0
    assert meters.find_exceeded_limit([key], 0) is None


calls = st.lists(st.tuples(st.floats(0, 20), st.integers(1, 60), st.floats(0, 1)), min_size=1, max_size=40)
"""How long after the one before it comes, how many tokens it sets aside, which part of them it uses."""


@given(calls=calls, takes=st.floats(0.01, 30), most=st.integers(1, 8))
def test_all_who_wait_are_served_in_turn_and_no_minute_holds_more(
    calls: list[tuple[float, int, float]], takes: float, most: int
) -> None:
    """Many callers at once, each of whom looks again when it was told to: against a list of all that went out."""
    clock = Clocks()
    meters, of = RateLimiter(clock, clock.epoch), [meter(requests=f"{most}/minute", tokens="100/minute")]
    arrivals = itertools.accumulate(pause for pause, _, _ in calls)
    due = [(at, who, "look") for who, at in enumerate(arrivals, 1)]
    went: dict[int, float] = {}
    used: dict[int, int] = {}
    while due:
        clock.now, who, what = heapq.heappop(due)
        _, tokens, part = calls[who - 1]
        if what == "done":
            used[who] = int(tokens * part)
            meters.settle_request(of, who, used[who])
        elif (full := meters.find_exceeded_limit(of, tokens, who)) is None:
            meters.leave_queue("key", who)
            meters.count_request(of, tokens, who, LONG)
            went[who], used[who] = clock.now, tokens
            heapq.heappush(due, (clock.now + takes, who, "done"))
        else:
            meters.join_queue("key", who, full.look_in, tokens)
            heapq.heappush(due, (clock.now + full.look_in, who, "look"))
        minute = [one for one, at in went.items() if at + 60 > clock.now]
        assert len(minute) <= most
        assert sum(used[one] for one in minute) <= 100

    assert len(went) == len(calls)
    overtaken = (went[first] - went[later] for first, later in itertools.combinations(sorted(went), 2))
    assert max(overtaken, default=0.0) <= LONGEST_POLL  # by those behind for whom there was room as well


@pytest.mark.parametrize("order", [(10.0, 500.0), (500.0, 10.0)])
def test_a_request_without_an_outcome_holds_its_place_until_its_time_is_up(
    meters: RateLimiter, clock: Clocks, order: tuple[float, float]
) -> None:
    """Also if one that may take longer began before it."""
    key = meter(concurrency=2)
    for number, until in enumerate(order):
        meters.count_request([key], 0, number, until)

    clock.now = 9.9
    assert meters.find_exceeded_limit([key], 0) is not None
    clock.now = 10.0
    assert meters.find_exceeded_limit([key], 0) is None


def test_beyond_ten_thousand_the_scope_that_was_used_longest_ago_is_forgotten(meters: RateLimiter) -> None:
    for number in range(MOST_SCOPES + 1):
        meters.count_request([meter(f"user {number}", requests="1/day")], 0, number, LONG)

    assert len(meters._counts) == MOST_SCOPES
    assert meters.find_exceeded_limit([meter("user 0", requests="1/day")], 0) is None
    assert meters.find_exceeded_limit([meter("user 1", requests="1/day")], 0) is not None


class TestLines:
    """First come, first served."""

    KEY = meter(concurrency=2)

    def fill(self, meters: RateLimiter, count: int = 2) -> None:
        for number in range(count):
            meters.count_request([self.KEY], 0, number, LONG)

    def test_room_is_set_aside_for_each_who_stands_before(self, meters: RateLimiter) -> None:
        self.fill(meters)
        for who in (11, 12, 13):
            meters.join_queue("key", who, 1.0, 1)
        for number in range(2):
            meters.settle_request([self.KEY], number, 0)

        may_go = [meters.find_exceeded_limit([self.KEY], 0, who) is None for who in (11, 12, 13, 0)]

        assert may_go == [True, True, False, False]

    def test_who_leaves_makes_room_for_the_next(self, meters: RateLimiter) -> None:
        self.fill(meters, 1)
        for who in (11, 12):
            meters.join_queue("key", who, 1.0, 1)
        assert meters.find_exceeded_limit([self.KEY], 0, 12) is not None

        meters.leave_queue("key", 11)

        assert meters.find_exceeded_limit([self.KEY], 0, 12) is None

    def test_who_stands_again_keeps_their_place(self, meters: RateLimiter) -> None:
        self.fill(meters, 1)
        for who in (11, 12, 11):
            meters.join_queue("key", who, 1.0, 1)

        assert meters.find_exceeded_limit([self.KEY], 0, 11) is None
        assert meters.find_exceeded_limit([self.KEY], 0, 12) is not None

    def test_who_does_not_come_back_is_dropped(self, meters: RateLimiter, clock: Clocks) -> None:
        self.fill(meters, 1)
        meters.join_queue("key", 11, 5.0, 1)
        meters.join_queue("key", 12, 60.0, 1)

        clock.now = 5.0 + GRACE_SECONDS - 0.1
        assert meters.find_exceeded_limit([self.KEY], 0, 12) is not None
        clock.now = 5.0 + GRACE_SECONDS
        assert meters.find_exceeded_limit([self.KEY], 0, 12) is None

    def test_a_call_queued_for_a_rate_gets_its_own_waiting_time(self, meters: RateLimiter) -> None:
        key = meter(requests="2/minute")
        send(meters, [key], 2)
        for who in (11, 12, 13, 14, 15):
            meters.join_queue("key", who, 1.0, 1)

        found = [meters.find_exceeded_limit([key], 0, who) for who in (11, 12, 13, 14, 15, 0)]

        assert [full.seconds for full in found if full] == pytest.approx([60, 60, 120, 120, 180, 180])

    def test_nobody_takes_the_only_place_before_who_came_first(
        self, meters: RateLimiter, clock: Clocks
    ) -> None:
        key = meter(requests="1/minute")
        send(meters, [key], 1)
        for who in (11, 12):
            meters.join_queue("key", who, 60.0, 1)
        clock.now = 60.0

        assert meters.find_exceeded_limit([key], 0, 12) is not None
        assert meters.find_exceeded_limit([key], 0, 11) is None

    def test_a_small_request_does_not_keep_a_large_one_from_its_room(
        self, meters: RateLimiter, clock: Clocks
    ) -> None:
        key = meter(tokens="100/minute")
        for number, at in enumerate((0.0, 30.0)):
            clock.now = at
            meters.count_request([key], 50, number, LONG)
            meters.settle_request([key], number, 50)
        meters.join_queue("key", 11, 60.0, 90)
        clock.now = 60.0

        small = meters.find_exceeded_limit([key], 20, 12)

        assert small is not None
        assert small.seconds == 90  # after the large one, which goes out at 90

    def test_the_first_looks_again_soonest(self, meters: RateLimiter) -> None:
        self.fill(meters)
        for who in range(11, 61):
            meters.join_queue("key", who, 1.0, 1)

        found = [meters.find_exceeded_limit([self.KEY], 0, who) for who in range(11, 61)]

        seconds = [full.seconds for full in found if full]
        assert seconds[:3] == pytest.approx([0.05, 0.05, 0.1])
        assert seconds == sorted(seconds)
        assert seconds[-1] == 1.0

    @given(leaving=st.lists(st.integers(1, 12), max_size=12))
    def test_when_one_leaves_the_queue_the_others_keep_their_order(self, leaving: list[int]) -> None:
        clock = Clocks()
        meters, key = RateLimiter(clock, clock.epoch), meter(concurrency=1)
        for who in range(1, 13):
            meters.join_queue("key", who, 1.0, 1)
        for who in leaving:
            meters.leave_queue("key", who)

        served: list[int] = []
        while waiting := [who for who in range(1, 13) if who not in {*leaving, *served}]:
            able = [who for who in reversed(waiting) if meters.find_exceeded_limit([key], 0, who) is None]
            assert able == waiting[:1]
            meters.leave_queue("key", able[0])
            served.append(able[0])


class TestQuotas:
    """When they begin anew."""

    @pytest.mark.parametrize(
        ("limits", "per"),
        [
            ({"requests": "5/day"}, "day"),
            ({"tokens": ["5/month", "1/minute"]}, "month"),
            ({"requests": "5/month", "tokens": "9/day"}, "day"),
            ({"requests": "5/hour"}, None),
        ],
    )
    def test_the_first_that_does_counts(
        self, meters: RateLimiter, limits: dict[str, Any], per: str | None
    ) -> None:
        resets = meters.next_quota_resets()
        ends = {
            "day": datetime(2026, 11, 22, tzinfo=UTC).timestamp(),
            "month": datetime(2026, 12, 1, tzinfo=UTC).timestamp(),
            None: math.inf,
        }

        assert find_first_quota_reset([meter(**limits)], resets) == ends[per]

    def test_the_next_day_has_its_own_end(self, meters: RateLimiter, clock: Clocks) -> None:
        before = meters.next_quota_resets()["day"]
        clock.now = 12 * 3600

        assert meters.next_quota_resets()["day"] == before + 86_400


class TestUsage:
    """What a tier used, without reservation."""

    def test_it_adds_up_and_begins_anew(self, meters: RateLimiter, clock: Clocks) -> None:
        rate = Limits.model_validate({"tokens": "100/day"}).tokens[0]
        for _ in range(3):
            meters.add_used_tokens("user ann", rate, 50)

        assert meters.count_used_tokens("user ann", rate) == 150
        assert meters.count_used_tokens("user bob", rate) == 0
        clock.now = 12 * 3600
        assert meters.count_used_tokens("user ann", rate) == 0
