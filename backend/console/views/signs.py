"""Signs that something is not as it should be, and whose it is to mend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple
from urllib.parse import quote

from backend.utils.llm.receipt import called

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from backend.utils.llm.diagnostics.qos import QosInfo

    from .windows import Lately, Sums

ENOUGH: Final = 5
"""Attempts from which on a rate of failures says something."""
TOO_MANY: Final = 0.1
"""The share of failed attempts from which on an endpoint is in trouble."""
SOON: Final = 14
"""Days before a model goes off sale."""

Level = Literal["good", "idle", "warn", "bad"]
Blame = Literal["us", "them"]


@dataclass(frozen=True, slots=True)
class Sign:
    """Something that is not as it should be.

    Attributes:
        blame: Whether it is ours to mend, or a provider's.
        link: The page that knows more.
    """

    level: Literal["warn", "bad"]
    blame: Blame
    says: str
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Gauge:
    """A limit or a budget that is nearly full; ``share`` is 1 when it is."""

    name: str
    share: float
    used: str
    most: str
    resets_at: datetime | None = None
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class EndpointNow:
    """How an endpoint does.

    Attributes:
        state: Of its breaker or cooldown; None if it may be used.
        day: The last 24 hours, in all processes.
        by_hour: Attempts and failures of each of them, the oldest first.
    """

    name: str
    state: str | None
    now: Lately
    day: Sums
    by_hour: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class LocalModel:
    """The state of the local model."""

    label: str
    state: str
    reason: str | None


class Process(NamedTuple):
    """What this process knows of itself.

    Attributes:
        database: Why the database cannot be used, as a code; None if it can.
        failing: The work beside requests that fails.
        ledger_fault: Why no records of attempts can be written; None if they can.
        lost: How many records found no room.
    """

    database: str | None = None
    failing: tuple[str, ...] = ()
    ledger_fault: str | None = None
    lost: int = 0
    local_model: LocalModel | None = None


def is_in_trouble(one: EndpointNow) -> bool:
    """Whether so many of its attempts fail that somebody should look."""
    return one.now.attempts >= ENOUGH and one.now.failure_rate >= TOO_MANY


def signs_of(
    qos: QosInfo,
    process: Process,
    endpoints: Sequence[EndpointNow],
    limits: Sequence[Gauge],
    budgets: Sequence[Gauge],
) -> Iterator[Sign]:
    """Everything that is not as it should be, ours first."""
    yield from _signs_of_ours(qos, process)
    for one in qos.health:
        level: Literal["warn", "bad"] = "bad" if one.state == "open" and one.key_owner == "house" else "warn"
        blame: Blame = "us" if one.category.value == "credential" and one.key_owner == "house" else "them"
        yield Sign(level, blame, f"{called(one.endpoint, one.account)} rests: it {one.reason}.", "#resting")
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


def verdict_of(signs: Sequence[Sign], window: Lately) -> tuple[Level, str]:
    """How it is, in a word and in a sentence."""
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
