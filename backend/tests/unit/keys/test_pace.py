"""How often a user may try keys."""

from __future__ import annotations

import pytest

from backend.keys.errors import TooManyTrialsError
from backend.keys.pace import MOST, WITHIN, Pace
from backend.keys.store import Owner

ANN, BOB = Owner("ann"), Owner("bob")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(clock)


def test_who_came_too_often_is_told_when_to_come_again(pace: Pace, clock: Clock) -> None:
    for second in range(MOST):
        clock.now = second
        pace.admit(ANN)

    with pytest.raises(TooManyTrialsError) as refused:
        pace.admit(ANN)

    assert refused.value.retry_after == WITHIN - (MOST - 1)
    clock.now = WITHIN
    pace.admit(ANN)


def test_one_user_does_not_hold_up_another(pace: Pace) -> None:
    for _ in range(MOST):
        pace.admit(ANN)

    pace.admit(BOB)


def test_only_so_many_are_remembered(pace: Pace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.keys.pace._REMEMBERED", 3)

    for number in range(10):
        pace.admit(Owner(str(number)))

    assert [owner.user_id for owner in pace._passed] == ["7", "8", "9"]
