from __future__ import annotations

import pytest

from backend.recent import MINUTES, MOST_SERIES, OTHER, RecentAttemptStats
from backend.tests.fakes.records import NOON, record

MINUTE = 60_000_000
NOW = NOON + 30_000_000


@pytest.fixture
def recent() -> RecentAttemptStats:
    return RecentAttemptStats()


def test_nothing_is_known_at_first(recent: RecentAttemptStats) -> None:
    window = recent.total_stats(NOW)

    assert (window.attempts, window.p50_s, window.success_at, window.failure) == (0, None, None, None)
    assert window.by_minute == ((0, 0),) * MINUTES
    assert window.failure_rate == 0
    assert recent.stats_by_endpoint(NOW) == {}


def test_an_attempt_counts_in_the_minute_in_which_it_ended(recent: RecentAttemptStats) -> None:
    recent.append(record(at=NOON - 2 * MINUTE, duration=90_000_000))
    recent.append(record(at=NOON, outcome="failed", category="server", status=500))

    assert recent.total_stats(NOW).by_minute[-3:] == ((0, 0), (1, 0), (1, 1))


def test_what_is_older_than_a_quarter_of_an_hour_does_not_count_any_more(recent: RecentAttemptStats) -> None:
    recent.append(record())

    assert recent.total_stats(NOW + (MINUTES - 1) * MINUTE).attempts == 1
    assert recent.total_stats(NOW + MINUTES * MINUTE).attempts == 0


def test_a_minute_is_reused_when_it_comes_round(recent: RecentAttemptStats) -> None:
    recent.append(record())
    recent.append(record(at=NOON + (MINUTES + 1) * MINUTE))

    assert recent.total_stats(NOW + (MINUTES + 1) * MINUTE).attempts == 1


def test_the_last_success_and_failure_outlive_their_minute(recent: RecentAttemptStats) -> None:
    recent.append(record(call="good"))
    recent.append(record(call="bad", outcome="failed", category="rate_limit", status=429))

    window = recent.stats_by_endpoint(NOW + 60 * MINUTE)["openai:gpt-6-luna"]

    assert window.success_at == NOON + 840_000
    assert window.failure is not None
    assert (window.failure.category, window.failure.status, window.failure.call) == ("rate_limit", 429, "bad")


def test_durations_are_known_to_within_a_sixteenth(recent: RecentAttemptStats) -> None:
    for milliseconds in range(1, 1_001):
        recent.append(record(duration=milliseconds * 1_000, first_token=milliseconds * 100))

    window = recent.total_stats(NOW)

    assert window.p50_s == pytest.approx(0.5, rel=1 / 16)
    assert window.p95_s == pytest.approx(0.95, rel=1 / 16)
    assert window.first_token_s == pytest.approx(0.05, rel=1 / 16)


def test_refusals_for_a_rate_and_second_best_answers_are_told_apart(recent: RecentAttemptStats) -> None:
    recent.append(record(outcome="failed", status=429))
    recent.append(record(degraded=True))
    recent.append(record(degraded=True, outcome="cancelled"))

    window = recent.total_stats(NOW)

    assert (window.attempts, window.failures, window.limited, window.degraded) == (3, 1, 1, 1)
    assert window.failure_rate == pytest.approx(1 / 3)


def test_features_and_endpoints_have_windows_of_their_own(recent: RecentAttemptStats) -> None:
    recent.append(record())
    recent.append(record(feature="conv_title", endpoint="own:https://ann.example/llm"))

    assert list(recent.stats_by_feature(NOW)) == ["conv_folder", "conv_title"]
    assert list(recent.stats_by_endpoint(NOW)) == ["openai:gpt-6-luna", "own"]


def test_what_is_told_apart_is_bounded(recent: RecentAttemptStats) -> None:
    for number in range(MOST_SERIES + 50):
        recent.append(record(feature=f"feature_{number}"))

    found = recent.stats_by_feature(NOW)

    assert len(found) == MOST_SERIES + 1
    assert found[OTHER].attempts == 50
