"""How often a user may try keys."""

from __future__ import annotations

import pytest

from backend.access import DataOwner
from backend.keys.errors import TooManyKeyChecksError
from backend.keys.rate_limit import MOST, WITHIN, KeyCheckRateLimiter
from backend.tests.fakes.clock import Clock

ANN, BOB = DataOwner("ann"), DataOwner("bob")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rate_limit(clock: Clock) -> KeyCheckRateLimiter:
    return KeyCheckRateLimiter(clock)


def test_too_many_checks_are_refused_with_when_to_come_again(
    rate_limit: KeyCheckRateLimiter, clock: Clock
) -> None:
    for second in range(MOST):
        clock.now = second
        rate_limit.count_check(ANN)

    with pytest.raises(TooManyKeyChecksError) as refused:
        rate_limit.count_check(ANN)

    assert refused.value.retry_after == WITHIN - (MOST - 1)
    clock.now = WITHIN
    rate_limit.count_check(ANN)


def test_one_user_does_not_hold_up_another(rate_limit: KeyCheckRateLimiter) -> None:
    for _ in range(MOST):
        rate_limit.count_check(ANN)

    rate_limit.count_check(BOB)


def test_only_so_many_are_remembered(
    rate_limit: KeyCheckRateLimiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.keys.rate_limit._REMEMBERED", 3)

    for number in range(10):
        rate_limit.count_check(DataOwner(str(number)))

    assert [owner.user_id for owner in rate_limit._checks] == ["7", "8", "9"]
