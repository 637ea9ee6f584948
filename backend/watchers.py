"""The observers of every attempt of the application's facade: users' keys, metrics, the ledger, recent attempts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from prometheus_client import Counter, Gauge

from backend.keys.monitor import KeyMonitor
from backend.ledger.spool import Bounds, Spool
from backend.metrics import Metrics
from backend.recent import RecentAttempts
from backend.utils.llm import Patchbay, TextFolder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client import CollectorRegistry
    from pydantic import SecretStr

    from backend.ledger.shipper import Shipper
    from backend.settings import Settings
    from backend.utils.llm import Table
    from backend.utils.llm.ledger.record import AttemptRecord


class Watchers(NamedTuple):
    """The observers of one facade, which `facade` makes.

    Attributes:
        keys: Observes which users' keys are refused.
        metrics: Counts attempts for Prometheus.
        spool: Writes records, to be shipped to the ledger. The watchers' maker closes it.
        secret: The secret with which keys are hashed in the records.
        texts: Keeps the prompts and answers of features with ``keep_text_days``; None keeps none.
        recent: Keeps statistics of the last 15 minutes; None to keep none.
    """

    keys: KeyMonitor
    metrics: Metrics
    spool: Spool
    secret: SecretStr | None = None
    texts: TextFolder | None = None
    recent: RecentAttempts | None = None

    @classmethod
    def of(cls, settings: Settings) -> Watchers:
        """The watchers of an application with ``settings``."""
        bounds = Bounds(on_disk=settings.ledger_spool_mb * 1024**2)
        spool, texts = Spool(settings.ledger_path, bounds), TextFolder(settings.texts_path)
        recent = RecentAttempts()
        return cls(KeyMonitor(), Metrics(), spool, settings.ledger_secret, texts, recent)

    def append(self, record: AttemptRecord) -> None:
        """Pass ``record`` to the ledger's spool, the metrics and the recent statistics. See `LedgerSink.append`."""
        self.spool.append(record)
        self.metrics.append(record)
        if self.recent is not None:
            self.recent.append(record)

    def prune_texts(self) -> None:
        """Delete the expired prompts and answers."""
        if self.texts is not None:
            self.texts.prune(datetime.now(UTC).date())

    def facade(self, table: Table, **more: Any) -> Patchbay:
        """A facade with these observers, which the caller closes.

        Args:
            table: The facade's table.
            more: Further arguments of `Patchbay`.
        """
        made = Patchbay(
            table,
            observer=self.keys.observe,
            ledger=self,
            ledger_secret=None if self.secret is None else self.secret.get_secret_value().encode(),
            texts=self.texts,
            require_caller=True,
            **more,
        )
        made.health.subscribe(self.metrics.health_changed)
        return made


class LedgerMetrics:
    """Metrics of the transfer of this process's records to the store.

    The metrics are gauges, set by `update`, so that those of several processes can be combined.

    Args:
        registry: The registry that exposes them until `withdraw`.
        spool: The spool that is measured.
        shipper: The shipper that is measured.
    """

    def __init__(self, registry: CollectorRegistry, spool: Spool, shipper: Shipper) -> None:
        self._registry = registry
        self._spool, self._shipper = spool, shipper
        self._counters = {
            name: Counter(f"patchbay_{name}", about, registry=registry) for name, about in _COUNTERS.items()
        }
        self._gauges = {
            name: Gauge(f"patchbay_{name}", about, registry=registry, multiprocess_mode=together)
            for name, (about, together) in _GAUGES.items()
        }
        self._counted = dict.fromkeys(_COUNTERS, 0)
        self.update()

    def update(self) -> None:
        """Set the metrics to the present figures."""
        spool, shipper = self._spool.figures, self._shipper.figures
        counted = {
            "ledger_records": spool.appended,
            "ledger_lost_records": spool.lost,
            "ledger_shipped_rows": shipper.rows,
            "ledger_refused_rows": shipper.refused,
            "ledger_damaged_lines": shipper.damaged,
        }
        for name, value in counted.items():
            self._counters[name].inc(value - self._counted[name])
        self._counted = counted
        self._gauges["ledger_waiting_records"].set(spool.waiting)
        self._gauges["ledger_fault"].set(spool.fault is not None)
        self._gauges["ledger_store_away"].set(shipper.away_since is not None)

    def withdraw(self) -> None:
        """Remove the metrics from the registry."""
        for metric in (*self._counters.values(), *self._gauges.values()):
            self._registry.unregister(metric)


_COUNTERS: Final = {
    "ledger_records": "Records that were written down, or were to be.",
    "ledger_lost_records": "Those for which there was no room.",
    "ledger_shipped_rows": "Rows that the store took, whoever wrote them.",
    "ledger_refused_rows": "Rows that it will never take.",
    "ledger_damaged_lines": "Lines that were not as they were written.",
}
_GAUGES: Final[Mapping[str, tuple[str, Literal["livesum", "livemax"]]]] = {
    "ledger_waiting_records": ("Those that wait in memory for room.", "livesum"),
    "ledger_fault": ("Whether none can be written now.", "livemax"),
    "ledger_store_away": ("Whether the store is away.", "livemax"),
}
"""Each with how those of several processes are put together."""
