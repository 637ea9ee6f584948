"""How often a user may try keys."""

from __future__ import annotations

import pytest

from backend.access import Owner
from backend.keys.errors import TooManyTrialsError
from backend.keys.rate_limit import MOST, WITHIN, CheckRateLimit
from backend.tests.fakes.clock import Clock

ANN, BOB = Owner("ann"), Owner("bob")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rate_limit(clock: Clock) -> CheckRateLimit:
    return CheckRateLimit(clock)


def test_too_many_checks_are_refused_with_when_to_come_again(
    rate_limit: CheckRateLimit, clock: Clock
) -> None:
    for second in range(MOST):
        clock.now = second
        rate_limit.admit(ANN)

    with pytest.raises(TooManyTrialsError) as refused:
        rate_limit.admit(ANN)

    assert refused.value.retry_after == WITHIN - (MOST - 1)
    clock.now = WITHIN
    rate_limit.admit(ANN)


def test_one_user_does_not_hold_up_another(rate_limit: CheckRateLimit) -> None:
    for _ in range(MOST):
        rate_limit.admit(ANN)

    rate_limit.admit(BOB)


def test_only_so_many_are_remembered(rate_limit: CheckRateLimit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.keys.rate_limit._REMEMBERED", 3)

    for number in range(10):
        rate_limit.admit(Owner(str(number)))

    assert [owner.user_id for owner in rate_limit._checks] == ["7", "8", "9"]
