from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.utils.llm.failures.evidence import FailureEvidence
from backend.utils.llm.failures.hints import LONGEST, read_retry_after

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOTHING = FailureEvidence("openai")


def hinted(**told: Any) -> float | None:
    return read_retry_after({name.replace("_", "-"): value for name, value in told.items()}, NOTHING, NOW)


@pytest.mark.parametrize("told", ["999999999", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT", "86401"])
def test_no_hint_is_longer_than_a_day(told: str) -> None:
    assert hinted(retry_after=told) == LONGEST == 86_400


@pytest.mark.parametrize(
    "told", ["1e308", "1_0", "-5", "+5", "nan", "inf", "٣", "", "0", "soon", "5 parsecs"]
)
def test_a_hint_that_is_no_number_and_no_future_date_is_ignored(told: str) -> None:
    assert hinted(retry_after=told) is None
    assert hinted(retry_after_ms=told) is None


@pytest.mark.parametrize(
    ("told", "seconds"), [("5", 5), (" 1.5 ", 1.5), ("Sat, 21 Nov 2026 12:00:30 GMT", 30)]
)
def test_a_plain_number_or_a_date_is_understood(told: str, seconds: float) -> None:
    assert hinted(retry_after=told) == seconds


@given(st.text(), st.text(), st.text())
def test_the_wait_is_bounded_whatever_the_hint(seconds: str, milliseconds: str, delay: str) -> None:
    headers = {"retry-after": seconds, "retry-after-ms": milliseconds}

    found = read_retry_after(headers, FailureEvidence("openai", retry_delay=delay), NOW)

    assert found is None or 0 < found <= LONGEST


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("17s", 17),
        ("6ms", 0.006),
        ("1m3.2s", 63.2),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3723),
        ("2 minutes", 120),
    ],
)
def test_a_duration_is_understood_wherever_it_stands(told: str, seconds: float) -> None:
    assert hinted(retry_after=told) == pytest.approx(seconds)
    assert read_retry_after({}, FailureEvidence("gemini", retry_delay=told), NOW) == pytest.approx(seconds)
    assert hinted(x_ratelimit_reset_tokens=told, x_ratelimit_remaining_tokens="0") == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("prose", "seconds"),
    [
        ("Rate limit reached: Limit 6000, Used 3513. Please try again in 6.78s. Visit the console.", 6.78),
        ("Please try again in 9m38.016s. Need more tokens?", 578.016),
        ("* Quota exceeded for metric: x, limit: 125000 Please retry in 15.002899939s.", 15.002899939),
        ("Your quota will reset after 5h59m59s.", 21_599),
        ("exceeded token rate limit of your tier. Please retry after 60 seconds. Please go here", 60),
        ("No deployments available for selected model, Try again in 60 seconds. Passed model=m.", 60),
        ("[openai/m] [400]: no (reset after 30s)", 30),
        ("try again in 99999h", LONGEST),
        ("try again later", None),
        ("limit is 40 API calls / minute", None),
        ("The 5s that you wait", None),
        ("try again in 1e9s", None),
    ],
)
def test_a_hint_in_prose_is_read_where_there_is_no_other(prose: str, seconds: float | None) -> None:
    seen = FailureEvidence("openai", sentence=prose)

    found = read_retry_after({}, seen, NOW)

    assert found == (pytest.approx(seconds) if seconds else None)
    assert read_retry_after({"retry-after": "3"}, seen, NOW) == 3


@pytest.mark.parametrize(
    "moment", ["2026-11-21T12:00:41Z", "2026-11-21T13:00:41+01:00", "1795262441", "1795262441000"]
)
def test_a_moment_is_understood_in_every_form(moment: str) -> None:
    assert hinted(x_ratelimit_reset=moment, x_ratelimit_remaining="0") == pytest.approx(41)


def test_only_limits_that_are_used_up_are_waited_for_and_of_those_the_longest() -> None:
    some = {
        "anthropic_ratelimit_requests_reset": "2026-11-21T12:00:09Z",
        "anthropic_ratelimit_requests_remaining": "0",
    }
    longer = {"x_ratelimit_reset_tokens": "20s", "x_ratelimit_remaining_tokens": "0"}
    with_room = {"x_ratelimit_reset_requests": "50s", "x_ratelimit_remaining_requests": "7"}

    assert hinted(**some, **with_room) == 9
    assert hinted(**some, **longer, **with_room) == 20
    assert hinted(**with_room) is None
    assert hinted(x_ratelimit_reset_tokens="20s") is None


def test_azures_milliseconds_are_understood() -> None:
    assert hinted(x_ms_retry_after_ms="1500") == 1.5
