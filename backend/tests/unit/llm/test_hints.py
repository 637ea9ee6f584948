from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.utils.llm.failures.evidence import Evidence
from backend.utils.llm.failures.hints import LONGEST, retry_after

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOTHING = Evidence("openai")


def hinted(**told: Any) -> float | None:
    return retry_after({name.replace("_", "-"): value for name, value in told.items()}, NOTHING, NOW)


@pytest.mark.parametrize("told", ["999999999", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT", "86401"])
def test_nobody_is_told_to_wait_longer_than_a_day(told: str) -> None:
    assert hinted(retry_after=told) == LONGEST == 86_400


@pytest.mark.parametrize(
    "told", ["1e308", "1_0", "-5", "+5", "nan", "inf", "٣", "", "0", "soon", "5 parsecs"]
)
def test_what_is_no_plain_number_and_no_date_to_come_says_nothing(told: str) -> None:
    assert hinted(retry_after=told) is None
    assert hinted(retry_after_ms=told) is None


@pytest.mark.parametrize(
    ("told", "seconds"), [("5", 5), (" 1.5 ", 1.5), ("Sat, 21 Nov 2026 12:00:30 GMT", 30)]
)
def test_a_plain_number_or_a_date_is_understood(told: str, seconds: float) -> None:
    assert hinted(retry_after=told) == seconds


@given(st.text(), st.text(), st.text())
def test_whatever_is_said_the_wait_is_bounded(seconds: str, milliseconds: str, delay: str) -> None:
    headers = {"retry-after": seconds, "retry-after-ms": milliseconds}

    found = retry_after(headers, Evidence("openai", retry_delay=delay), NOW)

    assert found is None or 0 < found <= LONGEST
