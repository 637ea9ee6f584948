"""How often a user may try keys."""

from __future__ import annotations

import pytest

from backend.access import DataOwner
from backend.keys.errors import TooManyKeyChecksError
from backend.keys.rate_limit import MOST, WITHIN, KeyCheckRateLimit
from backend.tests.fakes.clock import Clock

ANN, BOB = DataOwner("ann"), DataOwner("bob")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rate_limit(clock: Clock) -> KeyCheckRateLimit:
    return KeyCheckRateLimit(clock)


def test_too_many_checks_are_refused_with_when_to_come_again(
    rate_limit: KeyCheckRateLimit, clock: Clock
) -> None:
    for second in range(MOST):
        clock.now = second
        rate_limit.admit(ANN)

    with pytest.raises(TooManyKeyChecksError) as refused:
        rate_limit.admit(ANN)

    assert refused.value.retry_after == WITHIN - (MOST - 1)
    clock.now = WITHIN
    rate_limit.admit(ANN)


def test_one_user_does_not_hold_up_another(rate_limit: KeyCheckRateLimit) -> None:
    for _ in range(MOST):
        rate_limit.admit(ANN)

    rate_limit.admit(BOB)


def test_only_so_many_are_remembered(rate_limit: KeyCheckRateLimit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.keys.rate_limit._REMEMBERED", 3)

    for number in range(10):
        rate_limit.admit(DataOwner(str(number)))

    assert [owner.user_id for owner in rate_limit._checks] == ["7", "8", "9"]
