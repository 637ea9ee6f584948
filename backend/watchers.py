"""Who is told of every attempt of the application's facade: users' keys, Prometheus, the ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from backend.keys.monitor import KeyMonitor
from backend.ledger.spool import Bounds, Spool
from backend.metrics import Metrics
from backend.utils.llm import Patchbay, TextFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import SecretStr

    from backend.ledger.shipper import Shipper
    from backend.settings import Settings
    from backend.utils.llm import Table
    from backend.utils.llm.ledger.record import AttemptRecord


class Watchers(NamedTuple):
    """Those of one facade, which is made by `facade`.

    Attributes:
        keys: Sees which users' keys are refused.
        metrics: Counts.
        spool: Writes records down, to be shipped to the ledger. Whoever makes the watchers closes it.
        secret: What names keys in the records.
        texts: Keeps the prompts and answers of features whose rows say so; None keeps none.
    """

    keys: KeyMonitor
    metrics: Metrics
    spool: Spool
    secret: SecretStr | None = None
    texts: TextFolder | None = None

    @classmethod
    def of(cls, settings: Settings) -> Watchers:
        """Those of an application with ``settings``."""
        bounds = Bounds(on_disk=settings.ledger_spool_mb * 1024**2)
        spool, texts = Spool(settings.ledger_path, bounds), TextFolder(settings.texts_path)
        return cls(KeyMonitor(), Metrics(), spool, settings.ledger_secret, texts)

    def append(self, record: AttemptRecord) -> None:
        """See `LedgerSink`."""
        self.spool.append(record)
        self.metrics.append(record)

    def prune_texts(self) -> None:
        """Remove the texts whose day has come."""
        if self.texts is not None:
            self.texts.prune(datetime.now(UTC).date())

    def facade(self, table: Table, **more: Any) -> Patchbay:
        """A facade that tells them. Whoever makes it closes it.

        Args:
            table: Its table.
            more: As of `Patchbay`.
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


class LedgerMetrics(Collector):
    """How the records of this process get to the store, read off when it is asked for."""

    def __init__(self, spool: Spool, shipper: Shipper) -> None:
        self._spool = spool
        self._shipper = shipper

    @override
    def collect(self) -> Iterator[Metric]:
        spool, shipper = self._spool.figures, self._shipper.figures
        yield _counter("ledger_records", "Records that were written down, or were to be.", spool.appended)
        yield _counter("ledger_lost_records", "Those for which there was no room.", spool.lost)
        yield _gauge("ledger_waiting_records", "Those that wait in memory for room.", spool.waiting)
        yield _gauge("ledger_fault", "Whether none can be written now.", spool.fault is not None)
        yield _counter("ledger_shipped_rows", "Rows that the store took, whoever wrote them.", shipper.rows)
        yield _counter("ledger_refused_rows", "Rows that it will never take.", shipper.refused)
        yield _counter("ledger_damaged_lines", "Lines that were not as they were written.", shipper.damaged)
        yield _gauge("ledger_store_away", "Whether the store is away.", shipper.away_since is not None)


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(f"patchbay_{name}", about, value)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"patchbay_{name}", about, value)
