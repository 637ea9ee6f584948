"""The page "Config": the table in force in each process, and the overrides that people made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .windows import moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from backend.ledger.usage import Worker
    from backend.overrides import KeptOverride
    from backend.utils.llm.diagnostics.qos import OverrideInfo, QosInfo

PAST: Final = 20
"""How many ended overrides are shown."""
WORKING_SECONDS: Final = 3_600
"""Seconds without an attempt after which a process is not shown."""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A process that made calls lately.

    Attributes:
        writer: The id of the process in the ledger.
        at: When its last attempt began.
        table_hash: The hash of the table that routed that attempt.
        attempts: How many of the last attempts the process made.
        drifts: Whether its table differs from the one in force in this process.
    """

    writer: str
    at: datetime
    table_hash: str
    attempts: int
    drifts: bool


@dataclass(frozen=True, slots=True)
class PastOverride:
    """An override that has ended or expired."""

    id: str
    subject: str
    links: tuple[str, ...]
    author: str
    reason: str
    since: datetime
    ended_at: datetime
    ended_by: str | None


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of the table (such as a profile), and the number of features whose chain it decides."""

    name: str
    features: int


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """A provider, and whether there is an operator's key for it."""

    name: str
    api: str
    host: str
    variables: tuple[str, ...]
    house_key: str


@dataclass(frozen=True, slots=True)
class ConfigView:
    """Everything that the page shows about the table in force.

    Attributes:
        problems: Why the present file is not in force; empty if it is.
        layers: The layers that decide the features' chains.
        takes_overrides: Whether overrides are possible.
        features: The features that an override may change.
        endpoints: The endpoints that an override may disable.
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
    layers: tuple[Layer, ...]
    workers: tuple[WorkerRow, ...]
    overrides: tuple[OverrideInfo, ...]
    past: tuple[PastOverride, ...]
    providers: tuple[ProviderRow, ...]
    takes_overrides: bool
    features: tuple[str, ...]
    endpoints: tuple[str, ...]


def config_view(
    qos: QosInfo, workers: Sequence[Worker], kept: Sequence[KeptOverride] | None, at: datetime
) -> ConfigView:
    """Build the page at the time ``at``.

    Args:
        qos: The table in force.
        workers: The processes that made calls lately.
        kept: The last overrides; None if the table takes none.
        at: The time of the view.
    """
    chains = {endpoint for info in qos.features.values() for endpoint in info.chain}
    return ConfigView(
        at=at,
        table_hash=qos.table_hash,
        source=qos.source,
        profile=qos.profile,
        profile_layer=qos.profile_layer,
        byok_profile=qos.byok_profile,
        demo=qos.demo,
        demo_active=qos.demo_active,
        problems=qos.problems,
        layers=_layers(qos),
        workers=tuple(_worker(one, qos.table_hash) for one in workers if _is_recent(one, at)),
        overrides=qos.overrides,
        past=tuple(_past(one) for one in kept or () if one.ended_at is not None),
        providers=tuple(
            ProviderRow(name, one.api, one.host, one.api_key_envs, one.house_key)
            for name, one in qos.providers.items()
        ),
        takes_overrides=kept is not None,
        features=tuple(qos.features),
        endpoints=tuple(sorted(chains)),
    )


def _layers(qos: QosInfo) -> tuple[Layer, ...]:
    names = [info.layer or "nothing" for info in qos.features.values()]
    return tuple(Layer(name, names.count(name)) for name in sorted(set(names)))


def _is_recent(worker: Worker, at: datetime) -> bool:
    return (at - moment(worker.at)).total_seconds() < WORKING_SECONDS


def _worker(one: Worker, table_hash: str) -> WorkerRow:
    return WorkerRow(one.writer, moment(one.at), one.table_hash, one.attempts, one.table_hash != table_hash)


def _past(kept: KeptOverride) -> PastOverride:
    one = kept.override
    ended = kept.ended_at or one.until
    return PastOverride(
        one.id, one.subject, one.links, one.author, one.reason, one.since, ended, kept.ended_by
    )
