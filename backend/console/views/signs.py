"""Warnings that something is wrong, each with whether the operator or a provider must fix it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple
from urllib.parse import quote

from backend.utils.llm.receipt import endpoint_label

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from backend.utils.llm.diagnostics.qos import QosInfo

    from .windows import RecentStatistics, UsageTotals

ENOUGH: Final = 5
"""The number of attempts from which a failure rate is meaningful."""
TOO_MANY: Final = 0.1
"""The share of failed attempts from which an endpoint is in trouble."""
SOON: Final = 14
"""The number of days before a model goes off sale from which there is a sign."""

Level = Literal["good", "idle", "warn", "bad"]
Blame = Literal["us", "them"]


@dataclass(frozen=True, slots=True)
class HealthWarning:
    """A warning about the present state of the service.

    Attributes:
        level: ``bad`` for a serious fault; ``warn`` for something that somebody should look at.
        blame: Who must fix it: ``us`` for the operator, ``them`` for a provider.
        says: The warning as a sentence.
        link: The page with details; None if there is none.
    """

    level: Literal["warn", "bad"]
    blame: Blame
    says: str
    link: str | None = None


@dataclass(frozen=True, slots=True)
class UsageGauge:
    """How much of a rate limit or budget is used.

    Attributes:
        share: The used share; 1 if it is used up.
        used: The used amount, as text.
        most: The limit, as text.
        resets_at: When the counter is reset; None if never or unknown.
        waiting: How many calls wait because of the limit.
    """

    name: str
    share: float
    used: str
    most: str
    resets_at: datetime | None = None
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """The state and the recent statistics of an endpoint.

    Attributes:
        state: The state of the circuit breaker or cooldown, such as ``open``; None if the endpoint is
            healthy.
        now: The statistics of the last 15 minutes, of this process.
        day: The sums of the last 24 hours, of all processes.
        by_hour: The numbers of attempts and failures in each of the last 24 hours, the oldest first.
    """

    name: str
    state: str | None
    now: RecentStatistics
    day: UsageTotals
    by_hour: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class LocalModelStatus:
    """The state of the built-in local model. ``reason`` is set if it has failed or does not answer; else None."""

    label: str
    state: str
    reason: str | None


class ProcessFaults(NamedTuple):
    """The faults of this server process: of its database, background tasks, ledger and local model.

    Attributes:
        database: Why the database cannot be used, as a code; None if it can.
        failing: The names of the background tasks that fail.
        ledger_fault: Why records of attempts cannot be written to disk; None if they can.
        lost: How many records of attempts were lost, because there was no room for them.
        local_model: The state of the local model; None if there is no local model.
    """

    database: str | None = None
    failing: tuple[str, ...] = ()
    ledger_fault: str | None = None
    lost: int = 0
    local_model: LocalModelStatus | None = None


def is_failing_often(endpoint: EndpointStatus) -> bool:
    """Whether at least the share `TOO_MANY` of the attempts of the last 15 minutes has failed.

    False for fewer attempts than `ENOUGH`.
    """
    return endpoint.now.attempts >= ENOUGH and endpoint.now.failure_rate >= TOO_MANY


def find_warnings(
    qos: QosInfo,
    process_faults: ProcessFaults,
    endpoints: Sequence[EndpointStatus],
    limits: Sequence[UsageGauge],
    budgets: Sequence[UsageGauge],
) -> Iterator[HealthWarning]:
    """Yield a warning for everything that is wrong now, first for faults of this process and the configuration.

    Args:
        qos: The configuration table in force, with the health of its endpoints.
        process_faults: The faults of this process.
        endpoints: The state and statistics of all endpoints.
        limits: The rate limits that are nearly used up.
        budgets: The budgets that are nearly used up.
    """
    yield from _signs_of_ours(qos, process_faults)
    for health in qos.health:
        level: Literal["warn", "bad"] = (
            "bad" if health.state == "open" and health.key_owner == "house" else "warn"
        )
        blame: Blame = (
            "us" if health.category.value == "credential" and health.key_owner == "house" else "them"
        )
        yield HealthWarning(
            level,
            blame,
            f"{endpoint_label(health.endpoint, health.account)} rests: it {health.reason}.",
            "#resting",
        )
    for one_endpoint in filter(is_failing_often, endpoints):
        share = f"{one_endpoint.now.failure_rate:.0%}".replace("%", " %")
        says = f"{one_endpoint.name} failed {share} of the attempts of the last quarter of an hour."
        yield HealthWarning("bad", "them", says, f"/requests?model={quote(one_endpoint.name)}&outcome=failed")
    for gauge in (*limits, *budgets):
        yield HealthWarning("warn", "us", f"{gauge.name}: {gauge.used} of {gauge.most} used.", "#full")
    gone = [retirement for retirement in qos.retirements if retirement.features and retirement.days <= SOON]
    if gone:
        names = ", ".join(impact.endpoint for impact in gone[:3])
        yield HealthWarning("warn", "us", f"Off sale within {SOON} days, or already: {names}.", "/models")


def _signs_of_ours(qos: QosInfo, process: ProcessFaults) -> Iterator[HealthWarning]:
    if process.database is not None:
        yield HealthWarning("bad", "us", f"The database cannot be used: {process.database}.")
    if process.ledger_fault is not None or process.lost:
        says = process.ledger_fault or f"there was no room for {process.lost} records"
        yield HealthWarning("bad", "us", f"Attempts are not written to the ledger: {says}.")
    if process.failing:
        yield HealthWarning("warn", "us", f"Work beside requests fails: {', '.join(process.failing)}.")
    if qos.problems:
        yield HealthWarning(
            "warn", "us", "The table's file has problems. The last good version stays in force.", "/config"
        )
    unserved = [name for name, info in qos.features.items() if info.problem]
    if unserved:
        names = ", ".join(unserved[:3]) + (f" and {len(unserved) - 3} more" if len(unserved) > 3 else "")  # noqa: PLR2004
        yield HealthWarning("warn", "us", f"Nothing can serve {names}.", "/features?only=trouble")
    if process.local_model is not None and process.local_model.state == "failed":
        yield HealthWarning(
            "warn", "us", f"The local model failed: {process.local_model.reason or 'nobody knows why'}"
        )


def summarize_warnings(warnings: Sequence[HealthWarning], statistics: RecentStatistics) -> tuple[Level, str]:
    """Summarize the warnings and the calls of the last 15 minutes as a level, such as ``warn``, and a sentence."""
    worst = [warning for warning in warnings if warning.level == "bad"]
    if worst:
        blamed = {warning.blame for warning in worst}
        who = {"us": "It is us.", "them": "It is them."}
        return "bad", "It is them, and us." if len(blamed) > 1 else who[blamed.pop()]
    if warnings:
        return "warn", "Calls are served; something wants a look."
    if not statistics.attempts:
        return "idle", "All is well, and quiet."
    return "good", "All is well."
