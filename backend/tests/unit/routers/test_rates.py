from __future__ import annotations

import pytest

from backend.access import Grant
from backend.routers.rates import TokenRateLimiter, TooManyRequestsError
from backend.tests.fakes.clock import Clock
from backend.utils.llm.rate_limits import RateLimit


def grant(token_id: str | None = "t", amount: int | None = 3) -> Grant:
    return Grant("ann", token_id=token_id, rate=None if amount is None else RateLimit(amount, "minute"))


def test_so_many_at_once_then_evenly() -> None:
    clock = Clock(0.0)
    rates = TokenRateLimiter(clock)
    for _ in range(3):
        rates.count_request(grant())

    with pytest.raises(TooManyRequestsError) as refused:
        rates.count_request(grant())
    assert refused.value.headers == {"Retry-After": "20"}

    clock.now += 20
    rates.count_request(grant())
    with pytest.raises(TooManyRequestsError):
        rates.count_request(grant())


def test_what_is_refused_does_not_count() -> None:
    clock = Clock(0.0)
    rates = TokenRateLimiter(clock)
    for _ in range(3):
        rates.count_request(grant())
    for _ in range(10):
        with pytest.raises(TooManyRequestsError):
            rates.count_request(grant())

    clock.now += 20
    rates.count_request(grant())


def test_each_token_has_its_own() -> None:
    rates = TokenRateLimiter(Clock(0.0))
    for token in ("a", "b"):
        for _ in range(3):
            rates.count_request(grant(token))

    for _ in range(10):
        rates.count_request(grant("c", None))
        rates.count_request(grant(None))
