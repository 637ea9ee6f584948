"""Limits that several processes share, as each of them sees them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.tests.fakes.clock import Clock
from backend.tests.fakes.shared_memory import MemoryStore, SharedMemory
from backend.utils.llm.rate_limits import Limits, RateLimit
from backend.utils.llm.state.rate_limiter import MeteredScope
from backend.utils.llm.state.shared import unreported
from backend.utils.llm.state.shared.asking import ASKED_SECONDS
from backend.utils.llm.state.shared.limits import SharedRateLimiter
from backend.utils.llm.state.shared.names import HashedNames
from backend.utils.llm.state.shared.store import ALLOWED_SECONDS, SLACK

from .conftest import NOON, nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backend.utils.llm.state.shared.store import ReservationAnswer, SharedLimit

MINUTE = 60.0
NAMES = HashedNames(b"a secret of all processes")


class Process:
    """One process, whose connection to the others may be cut.

    Args:
        memory: What all share.
        clock: The time of all.
        most: What its calls are held to.
    """

    def __init__(self, memory: SharedMemory, clock: Clock, **most: object) -> None:
        self.store = MemoryStore(memory, nothing)
        self._clock = clock
        self.limiter = SharedRateLimiter(clock, clock, threading.RLock(), self.store, NAMES, lambda: 0.5)
        self.store.reporter = self.limiter
        self.meters = [MeteredScope("feature f", "for f", Limits.model_validate(most))]
        self._number = 0

    def sends(self, tokens: int = 1) -> int | None:
        """The number of a request that goes out; None if it may not."""
        number = self.takes(tokens)
        return number if number is not None and self.asks(number) else None

    def takes(self, tokens: int = 1) -> int | None:
        """The number of a request that counts here, but has not asked the store yet; None if it may not."""
        if self.limiter.find_exceeded_limit(self.meters, tokens) is not None:
            return None
        self._number += 1
        self.limiter.count_request(self.meters, tokens, self._number, self._clock() + 100)
        return self._number

    def asks(self, number: int) -> bool:
        """Whether the request goes out; if not, it is put back."""
        if self.limiter.reserve_shared_limits(number):
            return True
        self.settles(number, 0, arrived=False)
        return False

    def settles(self, number: int, used: int | None, *, arrived: bool = True) -> None:
        self.limiter.settle_request(self.meters, number, used, reached_provider=arrived)

    def many(self, most: int = 1000) -> int:
        """How many go out now."""
        return len([number for number in range(most) if self.sends() is not None])


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def memory(clock: Clock) -> SharedMemory:
    return SharedMemory(clock)


def cut_off(*processes: Process) -> None:
    """Let the store be away for them, as a server is."""
    for process in processes:
        process.store.joined = False
        process.store.reserve = _unanswered  # type: ignore[assignment,method-assign]


def _unanswered(_: str, __: Sequence[SharedLimit], told: Callable[[ReservationAnswer | None], None]) -> None:
    told(None)


def rejoin(process: Process, clock: Clock, *, everything: bool = False) -> None:
    """Let it be back for one."""
    del process.store.reserve
    process.store.queue_changes(
        list(
            process.limiter.list_unreported_changes(
                lambda limit, age: int((clock() - age) // limit.bucket_seconds), include_reported=everything
            )
        )
    )
    process.store.joined, process.store.is_slow = True, False
    process.limiter.on_store_rejoin()
    process.store.beat()


def test_several_processes_let_out_what_one_would(memory: SharedMemory, clock: Clock) -> None:
    one, other = (Process(memory, clock, requests="10/minute") for _ in range(2))

    assert one.many(4) + other.many() + one.many() == 10


def test_who_was_refused_waits_until_there_is_room_and_asks_nobody(
    memory: SharedMemory, clock: Clock
) -> None:
    one, other = (Process(memory, clock, requests="1/minute") for _ in range(2))
    one.sends()
    clock.now += 10
    assert other.sends() is None

    exceeded = other.limiter.find_exceeded_limit(other.meters, 1)

    assert exceeded is not None
    assert 50 <= exceeded.seconds <= 50 + MINUTE * SLACK + 0.5
    assert exceeded.what == "1 requests per minute for f"
    clock.now += exceeded.seconds + 0.001
    assert other.sends() is not None


def test_tokens_that_were_not_used_are_free_for_all(memory: SharedMemory, clock: Clock) -> None:
    one, other = (Process(memory, clock, tokens="100/minute") for _ in range(2))
    number = one.sends(80)
    assert number is not None
    assert other.sends(50) is None

    one.settles(number, 10)

    assert one.sends(50) is not None


def test_tokens_beyond_what_was_expected_count_too(memory: SharedMemory, clock: Clock) -> None:
    one, other = (Process(memory, clock, tokens="100/minute") for _ in range(2))
    number = one.sends(10)
    assert number is not None

    one.settles(number, 95)

    assert other.sends(10) is None


def test_a_request_that_never_arrived_costs_nothing(memory: SharedMemory, clock: Clock) -> None:
    one, other = (Process(memory, clock, requests="1/minute", tokens="9/minute") for _ in range(2))
    number = one.sends(9)
    assert number is not None

    one.settles(number, 0, arrived=False)

    assert other.sends(9) is not None


def test_a_place_is_free_for_all_once_the_endpoint_has_answered(memory: SharedMemory, clock: Clock) -> None:
    one, other = (Process(memory, clock, concurrency=1) for _ in range(2))
    number = one.sends()
    assert number is not None
    assert other.sends() is None
    clock.now += 0.1

    one.limiter.mark_request_answered(one.meters, number)

    assert other.sends() is not None


def test_a_day_counts_for_all(memory: SharedMemory, clock: Clock) -> None:
    one, other = (Process(memory, clock, requests="2/day") for _ in range(2))
    assert one.many() == 2
    assert other.many() == 0

    exceeded = other.limiter.find_exceeded_limit(other.meters, 1)

    assert exceeded is not None
    assert exceeded.is_quota


def test_what_is_held_for_requests_under_way_is_told_by_their_names(
    memory: SharedMemory, clock: Clock
) -> None:
    process = Process(memory, clock, concurrency=2)
    kept, ended = process.sends(), process.sends()
    assert kept is not None
    assert ended is not None
    process.limiter.mark_request_answered(process.meters, ended)

    names = [name for _, name in process.limiter.list_taken_slots()]

    assert [name.split(":")[1] for name in names] == [str(kept)]


def test_alone_each_process_has_its_share(memory: SharedMemory, clock: Clock) -> None:
    processes = [Process(memory, clock, requests="100/minute", concurrency=8) for _ in range(4)]
    cut_off(*processes)

    assert [process.many() for process in processes] == [2] * 4  # of eight places


def test_alone_a_process_counts_what_it_was_granted_before(memory: SharedMemory, clock: Clock) -> None:
    one, other = (Process(memory, clock, requests="10/minute") for _ in range(2))
    assert one.many(3) == 3
    cut_off(one, other)

    assert [one.many(), other.many()] == [2, 5]


def test_alone_a_request_larger_than_the_share_goes_out_by_itself(memory: SharedMemory, clock: Clock) -> None:
    one, _ = (Process(memory, clock, tokens="100/minute") for _ in range(2))
    cut_off(one)

    assert one.sends(80) is not None
    assert one.sends(1) is None


def test_alone_a_limit_of_one_lets_each_process_send_one(memory: SharedMemory, clock: Clock) -> None:
    processes = [Process(memory, clock, requests="1/minute") for _ in range(3)]
    cut_off(*processes)

    assert [process.many() for process in processes] == [1, 1, 1]


def silent(*processes: Process) -> None:
    """Let the store say nothing to them, as a server that stands still."""
    cut_off(*processes)
    for process in processes:
        process.store.is_slow = True


def test_while_the_store_is_silent_only_what_was_set_aside_goes_out(
    memory: SharedMemory, clock: Clock
) -> None:
    one, other = (Process(memory, clock, requests="100/minute") for _ in range(2))
    one.many(1)
    silent(one)

    assert one.many() == 99 // 4
    assert other.many() == 99 - 99 // 4
    exceeded = one.limiter.find_exceeded_limit(one.meters, 1)
    assert exceeded is not None
    assert 0 < exceeded.look_in < 1


def test_what_is_set_aside_is_only_for_a_while(memory: SharedMemory, clock: Clock) -> None:
    one, _ = (Process(memory, clock, requests="100/minute") for _ in range(2))
    one.many(1)
    silent(one)

    clock.now += ALLOWED_SECONDS

    assert one.many() == 0


def test_what_is_set_aside_is_set_aside_anew_while_the_limit_is_in_use(
    memory: SharedMemory, clock: Clock
) -> None:
    one, _ = (Process(memory, clock, requests="100/minute") for _ in range(2))
    one.many(1)
    for _ in range(30):
        clock.now += 1
        one.store.beat()
    silent(one)

    assert one.many() == 99 // 4


def test_who_never_asked_the_store_has_nothing_while_it_is_silent(memory: SharedMemory, clock: Clock) -> None:
    one, _ = (Process(memory, clock, requests="100/minute", concurrency=8) for _ in range(2))
    silent(one)

    assert one.many() == 0


def test_a_place_that_a_process_gives_back_while_the_store_is_silent_is_its_own(
    memory: SharedMemory, clock: Clock
) -> None:
    one, other = (Process(memory, clock, concurrency=3) for _ in range(2))
    number = one.sends()
    other.many()
    assert number is not None
    one.store.beat()
    silent(one)
    one.store.release_slots = lambda *_, **__: None  # type: ignore[method-assign]
    assert one.many() == 0

    one.limiter.mark_request_answered(one.meters, number)

    assert one.many() == 1


def test_requests_that_the_store_never_answered_free_no_places_for_others(
    memory: SharedMemory, clock: Clock
) -> None:
    one, other = (Process(memory, clock, concurrency=10) for _ in range(2))
    first = one.sends()
    assert first is not None
    one.settles(first, 1)
    in_flight = other.many(8)
    clock.now += 1
    one.store.beat()
    asked = [number for number in (one.takes() for _ in range(6)) if number is not None]
    silent(one, other)

    in_flight += sum(one.asks(number) for number in asked)

    assert len(asked) == 6
    assert in_flight + one.many() == 9


def test_tokens_that_were_not_used_of_what_was_set_aside_are_used_by_the_next(
    memory: SharedMemory, clock: Clock
) -> None:
    one, _ = (Process(memory, clock, tokens="500/minute") for _ in range(2))
    one.sends(100)
    silent(one)
    number = one.sends(100)
    assert number is not None
    assert one.sends(50) is None

    one.settles(number, 20)

    assert one.sends(50) is not None


def test_what_was_set_aside_before_the_store_was_back_is_not_for_those_who_still_wait(
    memory: SharedMemory, clock: Clock
) -> None:
    one, _ = (Process(memory, clock, requests="100/minute") for _ in range(2))
    one.many(1)
    reserve = one.store.reserve

    def back_meanwhile(*asked: Any) -> None:
        one.limiter.on_store_rejoin()
        asked[-1](None)

    one.store.reserve = back_meanwhile  # type: ignore[assignment,method-assign]
    assert one.sends() is None
    one.store.reserve = reserve  # type: ignore[method-assign]
    assert one.sends() is not None


def test_what_was_not_used_of_it_is_not_for_those_who_still_wait_either(
    memory: SharedMemory, clock: Clock
) -> None:
    one, _ = (Process(memory, clock, tokens="500/minute") for _ in range(2))
    one.sends(100)
    taken = one.takes(100), one.takes(50)
    silent(one)
    assert taken[0] is not None
    assert taken[1] is not None
    assert one.asks(taken[0])
    one.limiter.on_store_rejoin()

    one.settles(taken[0], 0)

    assert not one.asks(taken[1])


def test_a_grant_that_comes_when_the_process_was_by_itself_is_given_back(
    memory: SharedMemory, clock: Clock
) -> None:
    one, other = (Process(memory, clock, requests="1/minute") for _ in range(2))
    reserve = one.store.reserve

    def too_late(*asked: Any) -> None:
        reserve(*asked)
        one.store.joined, one.store.is_slow = False, True

    one.store.reserve = too_late  # type: ignore[assignment,method-assign]

    assert one.sends() is None
    assert other.many() == 1


def test_a_request_that_is_sent_late_counts_from_when_it_is_sent(memory: SharedMemory, clock: Clock) -> None:
    one, other = (Process(memory, clock, requests="1/minute") for _ in range(2))
    reserve = one.store.reserve

    def late(*asked: Any) -> None:
        reserve(*asked)
        clock.now += 5.0

    one.store.reserve = late  # type: ignore[assignment,method-assign]
    assert one.sends() is not None

    clock.now += MINUTE - 0.1

    assert other.sends() is None
    clock.now += 0.1 + MINUTE * SLACK + 0.2
    assert other.sends() is not None


def test_who_is_alone_has_its_share_of_what_was_left(memory: SharedMemory, clock: Clock) -> None:
    processes = [Process(memory, clock, requests="100/minute") for _ in range(4)]
    processes[0].many(90)
    for process in processes[1:]:
        process.many(1)
    sent = [90, 1, 1, 1]
    cut_off(*processes)

    more = [one.many() for one in processes]

    assert sum(sent) + sum(more) <= 100
    clock.now += MINUTE + 1
    assert [one.many() for one in processes] == [25] * 4


def test_refused_requests_leave_nothing_for_a_process_that_is_alone_then(
    memory: SharedMemory, clock: Clock
) -> None:
    one, other = (Process(memory, clock, tokens="1000/minute") for _ in range(2))
    one.sends(10)
    assert other.sends(700) is not None
    taken = [one.takes(300), one.takes(300)]
    assert [number is not None and one.asks(number) for number in taken] == [False, False]
    cut_off(one)

    assert 0 < sum(10 for _ in range(50) if one.sends(10) is not None) <= 290 / 2


def test_an_answer_that_was_lost_holds_up_nobody_for_long(memory: SharedMemory, clock: Clock) -> None:
    one, other = (Process(memory, clock, requests="2/minute") for _ in range(2))
    one.many(1)
    other.many(1)
    clock.now += MINUTE + 1
    other.store.patience = 0.0
    other.store.reserve = lambda *_: None  # type: ignore[method-assign]
    other.sends()
    assert other.limiter.find_exceeded_limit(other.meters, 1) is not None

    clock.now += ASKED_SECONDS

    assert other.limiter.find_exceeded_limit(other.meters, 1) is None


def test_what_went_out_alone_counts_once_all_are_together_again(memory: SharedMemory, clock: Clock) -> None:
    one, other = (Process(memory, clock, requests="10/minute") for _ in range(2))
    cut_off(one)
    assert one.many() == 5

    rejoin(one, clock)

    assert other.many() == 5


def test_what_went_out_alone_is_told_however_many_requests_it_was(
    memory: SharedMemory, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unreported, "MOST_UNREPORTED", 10)
    one, _ = (Process(memory, clock, requests="9000/day", tokens="90000/hour") for _ in range(2))
    cut_off(one)
    for _ in range(300):
        number = one.sends(7)
        assert number is not None
        one.settles(number, 5)
        clock.now += 0.01

    changes = list(one.limiter.list_unreported_changes(lambda *_: 1, include_reported=False))

    sums = {change.limit.most: change.amount for change in changes}
    assert sums == {9000: 300, 90000: 1500}
    assert len(changes) == len(sums)
    rejoin(one, clock)
    assert list(one.limiter.list_unreported_changes(lambda *_: 1, include_reported=False)) == []


def test_a_request_that_went_out_alone_and_was_granted_after_all_counts_once(
    memory: SharedMemory, clock: Clock
) -> None:
    one, _ = (Process(memory, clock, tokens="1000/minute") for _ in range(2))
    late: list[Callable[[], None]] = []
    reserve = one.store.reserve
    one.store.patience = 0.0
    one.store.reserve = lambda *asked: late.append(lambda: reserve(*asked))  # type: ignore[method-assign]
    one.store.joined = False
    number = one.sends(100)
    assert number is not None

    rejoin(one, clock)
    late[0]()
    one.settles(number, 40)

    assert [sum(window.buckets.values()) for window in memory.windows.values()] == [40]


def test_calls_go_on_while_everything_is_told(memory: SharedMemory, clock: Clock) -> None:
    process = Process(memory, clock, tokens="1000/minute")
    first, other = process.meters, [MeteredScope("feature g", "for g", process.meters[0].limits)]
    number = process.sends(100)
    assert number is not None
    process.meters = other
    later = process.sends(100)
    assert later is not None
    memory.windows.clear()

    changes = process.limiter.list_unreported_changes(
        lambda limit, age: int((clock() - age) // limit.bucket_seconds), include_reported=True
    )
    told = [next(iter(changes := iter(changes)))]
    process.limiter.settle_request(first, number, 10)  # was copied: is corrected
    process.limiter.settle_request(other, later, 10)  # is yet to be
    told += changes
    process.store.queue_changes(told)

    used = [sum(window.buckets.values()) for window in memory.windows.values()]
    assert used == [10, 10]


def test_an_emptied_store_is_told_everything_that_still_counts(memory: SharedMemory, clock: Clock) -> None:
    one, other = (Process(memory, clock, requests="10/minute") for _ in range(2))
    one.many(2)
    clock.now += 1
    other.many(3)
    cut_off(one, other)
    memory.windows.clear()
    memory.aside.clear()
    memory.sums.clear()

    rejoin(one, clock, everything=True)
    rejoin(other, clock, everything=True)

    assert one.many() + other.many() == 5
    clock.now += MINUTE - 0.1
    assert one.many() + other.many() == 2  # of the first


def test_after_an_outage_nothing_jumps(memory: SharedMemory, clock: Clock) -> None:
    processes = [Process(memory, clock, requests="60/minute") for _ in range(3)]
    sent: list[float] = []

    def pass_seconds(seconds: int) -> None:
        for _ in range(seconds):
            clock.now += 1
            sent.extend(clock.now for process in processes for _ in range(process.many(5)))

    pass_seconds(90)
    cut_off(*processes)
    pass_seconds(30)
    for process in processes:
        rejoin(process, clock)
    pass_seconds(200)

    together = [at for at in sent if at > NOON + 90 + 30 + MINUTE]
    assert max(sum(at <= other < at + MINUTE for other in together) for at in together) <= 60
    assert max(sum(at <= other < at + MINUTE for other in sent) for at in sent) <= 120


def test_tokens_of_a_tier_are_told_by_a_name_that_tells_nothing(memory: SharedMemory, clock: Clock) -> None:
    told: list[object] = []
    MemoryStore(memory, lambda event, _: told.append(event))
    one = Process(memory, clock)
    rate = RateLimit(100, "day")

    one.limiter.add_used_tokens("group fast of the user alice@example.com", rate, 30)

    assert one.limiter.count_used_tokens("group fast of the user alice@example.com", rate) == 30
    assert "alice" not in str(told)


Sends = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(1, 60)), max_size=60)


@given(sends=Sends)
def test_no_minute_holds_more_than_the_limit_whoever_sends(sends: list[tuple[int, int, int]]) -> None:
    clock = Clock(NOON)
    memory = SharedMemory(clock)
    processes = [Process(memory, clock, requests="5/minute", tokens="100/minute") for _ in range(3)]
    went: list[tuple[float, int]] = []
    for which, seconds, tokens in sends:
        clock.now += seconds
        number = processes[which].sends(tokens)
        if number is not None:
            went.append((clock.now, tokens))

    for at, _ in went:
        within = [tokens for when, tokens in went if at <= when < at + MINUTE]
        assert len(within) <= 5
        assert sum(within) <= 100


@st.composite
def silences(draw: st.DrawFn) -> list[tuple[int, bool, float, int]]:
    """Which process sends how much, or finds the store silent, and how much time passes before."""
    step = st.tuples(
        st.integers(0, 2),
        st.booleans(),
        st.sampled_from([0.0, 0.01, 0.4, 1.0, 7.0, 30.0]),
        st.integers(1, 20),
    )
    return draw(st.lists(step, min_size=10, max_size=80))


@given(steps=silences())
def test_no_minute_holds_more_than_the_limit_although_the_store_is_silent(
    steps: list[tuple[int, bool, float, int]],
) -> None:
    clock = Clock(NOON)
    memory = SharedMemory(clock)
    processes = [Process(memory, clock, requests="40/minute", tokens="90/minute") for _ in range(3)]
    silent_since: dict[int, float] = {}
    went: list[tuple[float, int]] = []
    for which, is_silence, seconds, tokens in steps:
        clock.now += seconds if not silent_since else min(seconds, 0.4)
        for number, since in [*silent_since.items()]:
            if clock.now - since > 1:
                del silent_since[number]
                rejoin(processes[number], clock)
        for number, process in enumerate(processes):
            if number not in silent_since:
                process.store.beat()
        if is_silence and which not in silent_since:
            silent_since[which] = clock.now
            silent(processes[which])
        went += [(clock.now, tokens) for _ in range(tokens) if processes[which].sends(tokens) is not None]

    for at, _ in went:
        within = [tokens for when, tokens in went if at <= when < at + MINUTE]
        assert len(within) <= 40
        assert sum(within) <= 90


@given(steps=silences())
def test_no_more_are_in_flight_than_the_limit_although_the_store_is_silent(
    steps: list[tuple[int, bool, float, int]],
) -> None:
    clock = Clock(NOON)
    memory = SharedMemory(clock)
    processes = [Process(memory, clock, concurrency=12) for _ in range(3)]
    in_flight: list[list[int]] = [[] for _ in processes]
    freed: list[list[Any]] = [[] for _ in processes]  # what a silent store does not hear
    silent_since: dict[int, float] = {}
    for which, is_silence, seconds, amount in steps:
        clock.now += min(seconds, 0.4)
        for number, since in [*silent_since.items()]:
            if clock.now - since > 1:
                del silent_since[number]
                hear_again(processes[number], memory, freed[number], clock)
        for number, one in enumerate(processes):
            if number not in silent_since:
                one.store.beat()
        process, sent = processes[which], in_flight[which]
        for number in sent[: amount // 4]:
            process.settles(number, 1)
        del sent[: amount // 4]
        asked = [number for number in (process.takes() for _ in range(amount)) if number is not None]
        if is_silence and which not in silent_since:
            silent_since[which] = clock.now
            silent(process)
            process.store.release_slots = lambda *one, to=freed[which], **_: to.append(one)  # type: ignore[method-assign]
        sent += [number for number in asked if process.asks(number)]

        assert sum(map(len, in_flight)) <= 12


def hear_again(process: Process, memory: SharedMemory, freed: list[Any], clock: Clock) -> None:
    """Let the store answer again: it hears which requests have places, and then which have none any more."""
    del process.store.release_slots
    for limit, name in process.limiter.list_taken_slots():
        memory.take(limit, name, clock())
    rejoin(process, clock)
    for one in freed:
        process.store.release_slots(*one, send_now=True)
    freed.clear()
