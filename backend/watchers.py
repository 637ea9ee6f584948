"""Connects all observers of attempts to the LLM clients: key monitoring, metrics, ledger, statistics."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from prometheus_client import Counter, Gauge

from backend.keys.monitor import KeyMonitor
from backend.ledger.spool import Spool, SpoolLimits
from backend.metrics import AttemptMetrics
from backend.recent import RecentAttemptStats
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
    """The observers of all attempts of one `Patchbay`. Call `facade` to make the `Patchbay`.

    Attributes:
        keys: Notices which users' keys are refused by providers.
        metrics: Counts attempts for Prometheus.
        spool: Writes the records of attempts to disk, from where they are moved to the ledger's database.
            Whoever makes the `Watchers` has to close the spool.
        secret: The secret with which keys are hashed in the records; None to record keys without a hash.
        texts: Stores the prompts and answers of features with ``keep_text_days``; None to store none.
        recent: Keeps statistics of the last 15 minutes; None to keep none.
    """

    keys: KeyMonitor
    metrics: AttemptMetrics
    spool: Spool
    secret: SecretStr | None = None
    texts: TextFolder | None = None
    recent: RecentAttemptStats | None = None

    @classmethod
    def of(cls, settings: Settings) -> Watchers:
        """Make all observers, with the folders and limits in ``settings``."""
        bounds = SpoolLimits(on_disk=settings.ledger_spool_mb * 1024**2)
        spool, texts = Spool(settings.ledger_spool_path, bounds), TextFolder(settings.prompt_texts_path)
        recent = RecentAttemptStats()
        return cls(KeyMonitor(), AttemptMetrics(), spool, settings.ledger_secret, texts, recent)

    def append(self, record: AttemptRecord) -> None:
        """Pass ``record`` to the spool, the metrics and the recent statistics. See `LedgerSink.append`."""
        self.spool.append(record)
        self.metrics.append(record)
        if self.recent is not None:
            self.recent.append(record)

    def prune_texts(self) -> None:
        """Delete stored prompts and answers that are older than their feature's ``keep_text_days``."""
        if self.texts is not None:
            self.texts.prune(datetime.now(UTC).date())

    def facade(self, table: Table, **patchbay_options: Any) -> Patchbay:
        """Make a `Patchbay` whose attempts are observed by these observers. The caller has to close it.

        Args:
            table: The table of features that the `Patchbay` serves.
            patchbay_options: Further keyword arguments of `Patchbay`.
        """
        made = Patchbay(
            table,
            observer=self.keys.observe,
            ledger=self,
            ledger_secret=None if self.secret is None else self.secret.get_secret_value().encode(),
            texts=self.texts,
            require_caller=True,
            **patchbay_options,
        )
        made.health.subscribe(self.metrics.record_health_change)
        return made


class LedgerMetrics:
    """Prometheus metrics of how this process's ledger records get from the spool on disk into the database.

    Call `update` before each scrape. The gauges of several processes can be combined.

    Args:
        registry: The registry that exposes the metrics until `unregister` is called.
        spool: The spool whose records are counted.
        shipper: The `Shipper` that moves records from the spool to the database.
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
        """Set the metrics to the current values of the spool and the shipper."""
        spool, shipper = self._spool.stats, self._shipper.stats
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

    def unregister(self) -> None:
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
