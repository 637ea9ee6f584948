"""The page "Config": the configuration table in force in each process, and the overrides that people made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .windows import datetime_from_microseconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from backend.ledger.usage import RecentWorker
    from backend.overrides import OverrideRecord
    from backend.utils.llm.diagnostics.qos import OverrideInfo, QosInfo

PAST: Final = 20
"""How many ended overrides are shown."""
WORKING_SECONDS: Final = 3_600
"""Seconds without an attempt after which a process is not shown."""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A server process that has made calls recently.

    Attributes:
        writer: The id of the process in the ledger.
        at: The start of its last attempt.
        table_hash: The hash of the configuration table that the process used for this attempt.
        attempts: How many of the last attempts in the ledger are from this process.
        drifts: Whether the process uses another table than the process that shows the page.
    """

    writer: str
    at: datetime
    table_hash: str
    attempts: int
    drifts: bool


@dataclass(frozen=True, slots=True)
class PastOverride:
    """A temporary change of the configuration that was reverted or has expired."""

    id: str
    subject: str
    links: tuple[str, ...]
    author: str
    reason: str
    since: datetime
    ended_at: datetime
    ended_by: str | None


@dataclass(frozen=True, slots=True)
class TableLayerRow:
    """A layer of the configuration table, such as a profile, and how many features take their endpoints from it."""

    name: str
    features: int


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """One provider in the list of providers. ``house_key`` says whether the operator has an API key for it."""

    name: str
    api: str
    host: str
    variables: tuple[str, ...]
    house_key: str


@dataclass(frozen=True, slots=True)
class ConfigView:
    """The data of the page "Config": the configuration table in force, the processes, and the overrides.

    Attributes:
        problems: Why the present table file is not in force; empty if it is in force.
        layers: The layers of the table from which features take their endpoints.
        takes_overrides: Whether overrides can be made.
        features: The features that an override can change.
        endpoints: The endpoints that an override can disable.
    """

    at: datetime
    table_hash: str
    source: str | None
    profile: str
    profile_layer: str
    byok_profile: str
    demo: str | None
    demo_active: bool
    problems: tuple[str, ...]
    layers: tuple[TableLayerRow, ...]
    workers: tuple[WorkerRow, ...]
    overrides: tuple[OverrideInfo, ...]
    past: tuple[PastOverride, ...]
    providers: tuple[ProviderRow, ...]
    takes_overrides: bool
    features: tuple[str, ...]
    endpoints: tuple[str, ...]


def make_config_view(
    qos: QosInfo, workers: Sequence[RecentWorker], overrides: Sequence[OverrideRecord] | None, now: datetime
) -> ConfigView:
    """Make the data of the page "Config".

    Args:
        qos: The configuration table in force.
        workers: The processes that made the last attempts.
        overrides: The last overrides, including ended ones; None if overrides cannot be made.
        now: The present time.
    """
    chains = {endpoint for info in qos.features.values() for endpoint in info.chain}
    return ConfigView(
        at=now,
        table_hash=qos.table_hash,
        source=qos.source,
        profile=qos.profile,
        profile_layer=qos.profile_layer,
        byok_profile=qos.byok_profile,
        demo=qos.demo,
        demo_active=qos.demo_active,
        problems=qos.problems,
        layers=_layers(qos),
        workers=tuple(_worker(worker, qos.table_hash) for worker in workers if _is_recent(worker, now)),
        overrides=qos.overrides,
        past=tuple(_past(record) for record in overrides or () if record.ended_at is not None),
        providers=tuple(
            ProviderRow(name, provider.api, provider.host, provider.api_key_envs, provider.house_key)
            for name, provider in qos.providers.items()
        ),
        takes_overrides=overrides is not None,
        features=tuple(qos.features),
        endpoints=tuple(sorted(chains)),
    )


def _layers(qos: QosInfo) -> tuple[TableLayerRow, ...]:
    names = [info.layer or "nothing" for info in qos.features.values()]
    return tuple(TableLayerRow(name, names.count(name)) for name in sorted(set(names)))


def _is_recent(worker: RecentWorker, at: datetime) -> bool:
    return (at - datetime_from_microseconds(worker.at)).total_seconds() < WORKING_SECONDS


def _worker(one: RecentWorker, table_hash: str) -> WorkerRow:
    return WorkerRow(
        one.writer,
        datetime_from_microseconds(one.at),
        one.table_hash,
        one.attempts,
        one.table_hash != table_hash,
    )


def _past(kept: OverrideRecord) -> PastOverride:
    one = kept.override
    ended = kept.ended_at or one.until
    return PastOverride(
        one.id, one.subject, one.links, one.author, one.reason, one.since, ended, kept.ended_by
    )
