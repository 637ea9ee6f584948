"""Prometheus metrics of this process's LLM attempts, counted from the records that also go to the ledger.

No label holds a user or a tenant. Features and endpoints are those of the table, and the number of combinations is bounded.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.values import MutexValue, ValueClass
from typing_extensions import override

from backend.utils.llm.execution.observers.log import public_endpoint_name
from backend.utils.llm.forks import ForkSafe
from backend.utils.llm.model_config import OWN

if TYPE_CHECKING:
    from backend.utils.llm.ledger.record import AttemptRecord
    from backend.utils.llm.state.health import HealthChange

MOST_SERIES: Final = 10_000
"""The most combinations of feature, endpoint and payer. Those beyond are counted as `OTHER`."""
OTHER: Final = "other"
SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""The buckets of durations, in seconds."""
TOKENS: Final = ("input", "output", "cached", "cache_write", "reasoning")
"""Kinds of tokens: ``cached`` and ``cache_write`` are part of ``input``, ``reasoning`` of ``output``."""
_OWN: Final = f"{OWN}:"
_MICROSECONDS: Final = 1e6
_PICO: Final = 1e12
_WHERE: Final = ("feature", "endpoint", "key_owner")

Where = tuple[str, str, str]
"""The feature, the endpoint, and the owner of the key."""


class _Series(NamedTuple):
    """The series of one feature on one endpoint with one payer's keys."""

    where: Where
    attempts: dict[tuple[str, str | None], Counter]
    seconds: Histogram
    tokens: tuple[Counter, ...]
    cost: Counter
    unpriced: Counter
    degraded: Counter


class AttemptMetrics(ForkSafe):
    """Counts attempts and opened circuit breakers for Prometheus.

    As a `LedgerSink` it receives the record of each attempt. A forked child process starts at zero. If
    several processes share the folder in PROMETHEUS_MULTIPROC_DIR, their counts are added up, those of ended
    processes included.

    Attributes:
        registry: The metrics of this process. `render_text` has the metrics of all processes.
    """

    registry: CollectorRegistry

    @override
    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Where, _Series] = {}
        disable_created_metrics()  # type: ignore[no-untyped-call]  # as many lines again, which nobody reads
        self.registry = CollectorRegistry()
        ended = (*_WHERE, "outcome", "category")
        self._attempts = self._counter("attempts", "Attempts that ended.", ended)
        self._seconds = self._histogram("attempt_duration_seconds", "How long attempts took.")
        self._first_token = self._histogram(
            "time_to_first_token_seconds", "To the first content of a stream."
        )
        self._tokens = self._counter("tokens", "Tokens; cached ones are input, too.", (*_WHERE, "kind"))
        self._cost = self._counter("cost_usd", "US dollars, as far as prices are known.")
        self._unpriced = self._counter("unpriced_attempts", "Attempts whose cost is unknown.")
        self._degraded = self._counter("degraded_answers", "Answers of another than the first choice.")
        circuit = ("endpoint", "key_owner", "account")
        self._openings = self._counter("breaker_openings", "How often circuit breakers opened.", circuit)

    def render_text(self) -> str:
        """Write all metrics in Prometheus's text format, as the body of the response to a scrape."""
        if ValueClass is MutexValue:
            return generate_latest(self.registry).decode()
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together).decode()

    def append(self, record: AttemptRecord) -> None:
        """Count the attempt that ``record`` describes, and its duration, tokens and cost. See `LedgerSink.append`."""
        endpoint = OWN if record.endpoint.startswith(_OWN) else record.endpoint
        where = record.feature, endpoint, record.key_owner
        series = self._known.get(where) or self._series(where)
        ended = record.outcome, record.category
        (series.attempts.get(ended) or self._outcome(series, ended)).inc()
        series.seconds.observe(record.duration / _MICROSECONDS)
        if record.first_token is not None:
            self._first_token.labels(*series.where).observe(record.first_token / _MICROSECONDS)
        used = record.input, record.output, record.cached, record.cache_write, record.reasoning
        for counter, tokens in zip(series.tokens, used, strict=True):
            if tokens:
                counter.inc(tokens)
        if record.cost is None:
            series.unpriced.inc()
        elif record.cost:
            series.cost.inc(record.cost / _PICO)
        if record.degraded and record.outcome == "ok":
            series.degraded.inc()

    def record_health_change(self, change: HealthChange) -> None:
        """Count ``change`` if it is the opening of a circuit breaker; ignore every other change."""
        if change.kind == "opened":
            circuit = change.circuit
            labels = public_endpoint_name(circuit.endpoint), circuit.owner, circuit.account or ""
            self._openings.labels(*labels).inc()

    def _series(self, where: Where) -> _Series:
        with self._lock:
            if len(self._known) >= MOST_SERIES:
                where = OTHER, OTHER, where[2]
            if where not in self._known:
                self._known[where] = _Series(
                    where,
                    {},
                    self._seconds.labels(*where),
                    tuple(self._tokens.labels(*where, kind) for kind in TOKENS),
                    self._cost.labels(*where),
                    self._unpriced.labels(*where),
                    self._degraded.labels(*where),
                )
            return self._known[where]

    def _outcome(self, series: _Series, ended: tuple[str, str | None]) -> Counter:
        outcome, category = ended
        counter = self._attempts.labels(*series.where, outcome, category or "")
        return series.attempts.setdefault(ended, counter)

    def _counter(self, name: str, about: str, labels: tuple[str, ...] = _WHERE) -> Counter:
        return Counter(f"patchbay_{name}", about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str) -> Histogram:
        return Histogram(f"patchbay_{name}", about, _WHERE, buckets=SECONDS, registry=self.registry)
