"""What Prometheus is told of attempts: their own figures, with labels that are bounded and name nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from backend.metrics import OTHER, AttemptMetrics
from backend.tests.fakes import records
from backend.tests.fakes.threads import hammer
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.state.health import Circuit, HealthChange

if TYPE_CHECKING:
    from backend.utils.llm.ledger.record import AttemptRecord

WHERE = {"feature": "chat", "endpoint": "openai:gpt-6-luna", "key_owner": "house"}
USED = {"input": 100, "output": 20, "cached": 60, "cache_write": 0, "reasoning": 5}


@pytest.fixture
def metrics() -> AttemptMetrics:
    return AttemptMetrics()


def record(**fields: Any) -> AttemptRecord:
    given = {"feature": "chat", "duration": 1_200_000, "first_token": None, "cost": 1_500_000_000, **USED}
    return records.record(**given | fields)


def value(metrics: AttemptMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"patchbay_{name}", WHERE | labels)


def labels(metrics: AttemptMetrics) -> dict[str, set[str]]:
    """Every label that is told, with its values."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        for sample in family.samples:
            for name, told in sample.labels.items():
                found.setdefault(name, set()).add(told)
    return found


def test_an_attempt_is_counted_by_what_became_of_it(metrics: AttemptMetrics) -> None:
    metrics.append(record())
    metrics.append(record(outcome="failed", category="server"))
    metrics.append(record(outcome="failed", category="server"))

    assert value(metrics, "attempts_total", outcome="ok", category="") == 1
    assert value(metrics, "attempts_total", outcome="failed", category="server") == 2
    assert value(metrics, "attempt_duration_seconds_sum") == pytest.approx(3.6)


@pytest.mark.parametrize(("kind", "tokens"), USED.items())
def test_tokens_are_counted_by_kind(metrics: AttemptMetrics, kind: str, tokens: int) -> None:
    metrics.append(record())

    assert value(metrics, "tokens_total", kind=kind) == tokens


def test_tokens_that_nobody_knows_are_none(metrics: AttemptMetrics) -> None:
    metrics.append(record(**dict.fromkeys(USED)))

    assert value(metrics, "tokens_total", kind="input") == 0


def test_cost_is_in_dollars_and_what_is_unknown_is_counted_apart(metrics: AttemptMetrics) -> None:
    metrics.append(record())
    metrics.append(record(cost=None))

    assert value(metrics, "cost_usd_total") == pytest.approx(0.0015)
    assert value(metrics, "unpriced_attempts_total") == 1


def test_first_tokens_are_those_of_streams(metrics: AttemptMetrics) -> None:
    metrics.append(record())
    metrics.append(record(first_token=400_000))

    assert value(metrics, "time_to_first_token_seconds_count") == 1
    assert value(metrics, "time_to_first_token_seconds_sum") == pytest.approx(0.4)


def test_answers_of_another_than_the_first_choice_are_counted_and_its_failures_are_not(
    metrics: AttemptMetrics,
) -> None:
    metrics.append(record(degraded=True))
    metrics.append(record(degraded=True, outcome="failed", category="server"))

    assert value(metrics, "degraded_answers_total") == 1


def test_openings_of_breakers_are_counted_and_other_changes_are_not(metrics: AttemptMetrics) -> None:
    circuit = Circuit("openai:gpt-6-luna", "secret", "house", "eu")
    for kind in ("opened", "closed", "opened", "rests", "back"):
        metrics.record_health_change(HealthChange(kind, circuit, FailureCategory.SERVER, 30.0, 5))

    where = {"endpoint": "openai:gpt-6-luna", "key_owner": "house", "account": "eu"}
    assert metrics.registry.get_sample_value("patchbay_breaker_openings_total", where) == 2


def test_no_label_names_anybody_or_what_a_provider_said(metrics: AttemptMetrics) -> None:
    metrics.append(record(key="fingerprint", account="eu", first_token=1))
    metrics.append(record(endpoint="own:a-model-of-anns", key_owner="user"))

    told = labels(metrics)
    assert set(told) == {"feature", "endpoint", "key_owner", "outcome", "category", "kind", "le"}
    assert told["endpoint"] == {"openai:gpt-6-luna", "own"}


def test_there_is_a_bound_on_series(metrics: AttemptMetrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.metrics.MOST_SERIES", 10)
    for number in range(100):
        metrics.append(record(feature=f"feature-{number}"))

    told = labels(metrics)
    assert len(told["feature"]) == 11
    other = {"feature": OTHER, "endpoint": OTHER, "key_owner": "house", "outcome": "ok", "category": ""}
    assert metrics.registry.get_sample_value("patchbay_attempts_total", other) == 90


def test_endpoints_that_users_bring_are_one_however_many_there_are(metrics: AttemptMetrics) -> None:
    for number in range(50):
        metrics.append(record(endpoint=f"own:model-{number}", key_owner="user"))

    assert value(metrics, "attempts_total", endpoint="own", key_owner="user", outcome="ok", category="") == 50


def test_of_many_at_once_none_is_lost(metrics: AttemptMetrics) -> None:
    def work(number: int) -> None:
        for _ in range(200):
            metrics.append(record(feature=f"f{number % 2}"))

    hammer(work)

    counted = [value(metrics, "attempts_total", feature=f"f{n}", outcome="ok", category="") for n in (0, 1)]
    assert counted == [800, 800]
