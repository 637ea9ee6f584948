"""Warnings that something is wrong, each with whether we or a provider must fix it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple
from urllib.parse import quote

from backend.utils.llm.receipt import endpoint_label

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from backend.utils.llm.diagnostics.qos import QosInfo

    from .windows import RecentStatistics, Sums

ENOUGH: Final = 5
"""The number of attempts from which a failure rate is meaningful."""
TOO_MANY: Final = 0.1
"""The share of failed attempts from which an endpoint is in trouble."""
SOON: Final = 14
"""The number of days before a model goes off sale from which there is a sign."""

Level = Literal["good", "idle", "warn", "bad"]
Blame = Literal["us", "them"]


@dataclass(frozen=True, slots=True)
class Sign:
    """A warning that something is wrong.

    Attributes:
        level: ``bad`` for a serious fault; ``warn`` for what somebody should look at.
        blame: Whether we or a provider must fix it.
        says: The warning as a sentence.
        link: The page with more about it; None if there is none.
    """

    level: Literal["warn", "bad"]
    blame: Blame
    says: str
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Gauge:
    """How full a limit or a budget is.

    Attributes:
        share: The used share: 1 when it is full.
        used: The used amount, as text.
        most: The limit, as text.
        resets_at: When the count begins again; None if it does not, or if that is unknown.
        waiting: How many calls wait until there is room.
    """

    name: str
    share: float
    used: str
    most: str
    resets_at: datetime | None = None
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class EndpointNow:
    """How an endpoint does now, and did in the last 24 hours.

    Attributes:
        state: The state of the breaker or cooldown; None if the endpoint may be used.
        now: The statistics of this process's last 15 minutes.
        day: The sums of the last 24 hours, in all processes.
        by_hour: Attempts and failures of each of these hours, the oldest first.
    """

    name: str
    state: str | None
    now: RecentStatistics
    day: Sums
    by_hour: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class LocalModel:
    """The state of the local model, and what to do if it has failed."""

    label: str
    state: str
    reason: str | None


class Process(NamedTuple):
    """Faults of this process itself: its database, background tasks, ledger and local model.

    Attributes:
        database: Why the database cannot be used, as a code; None if it can.
        failing: The names of the failing background tasks.
        ledger_fault: Why no records of attempts can be written; None if they can.
        lost: How many records were lost because there was no room.
        local_model: The state of the local model; None if there is none.
    """

    database: str | None = None
    failing: tuple[str, ...] = ()
    ledger_fault: str | None = None
    lost: int = 0
    local_model: LocalModel | None = None


def is_in_trouble(one: EndpointNow) -> bool:
    """Whether the endpoint made enough attempts in the last 15 minutes, and too many of them failed."""
    return one.now.attempts >= ENOUGH and one.now.failure_rate >= TOO_MANY


def signs_of(
    qos: QosInfo,
    process: Process,
    endpoints: Sequence[EndpointNow],
    limits: Sequence[Gauge],
    budgets: Sequence[Gauge],
) -> Iterator[Sign]:
    """Find everything that is wrong now. Faults of our own process and table come first.

    Args:
        qos: The table in force, with the health of its endpoints.
        process: The state of this process.
        endpoints: How each endpoint does.
        limits: The limits that are nearly full.
        budgets: The budgets that are nearly full.
    """
    yield from _signs_of_ours(qos, process)
    for one in qos.health:
        level: Literal["warn", "bad"] = "bad" if one.state == "open" and one.key_owner == "house" else "warn"
        blame: Blame = "us" if one.category.value == "credential" and one.key_owner == "house" else "them"
        yield Sign(
            level, blame, f"{endpoint_label(one.endpoint, one.account)} rests: it {one.reason}.", "#resting"
        )
    for one_endpoint in filter(is_in_trouble, endpoints):
        share = f"{one_endpoint.now.failure_rate:.0%}".replace("%", " %")
        says = f"{one_endpoint.name} failed {share} of the attempts of the last quarter of an hour."
        yield Sign("bad", "them", says, f"/requests?model={quote(one_endpoint.name)}&outcome=failed")
    for gauge in (*limits, *budgets):
        yield Sign("warn", "us", f"{gauge.name}: {gauge.used} of {gauge.most} used.", "#full")
    gone = [one for one in qos.retirements if one.features and one.days <= SOON]
    if gone:
        names = ", ".join(one.endpoint for one in gone[:3])
        yield Sign("warn", "us", f"Off sale within {SOON} days, or already: {names}.", "/models")


def _signs_of_ours(qos: QosInfo, process: Process) -> Iterator[Sign]:
    if process.database is not None:
        yield Sign("bad", "us", f"The database cannot be used: {process.database}.")
    if process.ledger_fault is not None or process.lost:
        says = process.ledger_fault or f"there was no room for {process.lost} records"
        yield Sign("bad", "us", f"Attempts are not written to the ledger: {says}.")
    if process.failing:
        yield Sign("warn", "us", f"Work beside requests fails: {', '.join(process.failing)}.")
    if qos.problems:
        yield Sign(
            "warn", "us", "The table's file has problems. The last good version stays in force.", "/config"
        )
    unserved = [name for name, info in qos.features.items() if info.problem]
    if unserved:
        names = ", ".join(unserved[:3]) + (f" and {len(unserved) - 3} more" if len(unserved) > 3 else "")  # noqa: PLR2004
        yield Sign("warn", "us", f"Nothing can serve {names}.", "/features?only=trouble")
    if process.local_model is not None and process.local_model.state == "failed":
        yield Sign(
            "warn", "us", f"The local model failed: {process.local_model.reason or 'nobody knows why'}"
        )


def verdict_of(signs: Sequence[Sign], window: RecentStatistics) -> tuple[Level, str]:
    """Summarize all warnings, and the calls of the last 15 minutes, as a level in one word and a sentence."""
    worst = [one for one in signs if one.level == "bad"]
    if worst:
        blamed = {one.blame for one in worst}
        who = {"us": "It is us.", "them": "It is them."}
        return "bad", "It is them, and us." if len(blamed) > 1 else who[blamed.pop()]
    if signs:
        return "warn", "Calls are served; something wants a look."
    if not window.attempts:
        return "idle", "All is well, and quiet."
    return "good", "All is well."
