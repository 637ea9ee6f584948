"""Metrics in Prometheus's format, read off the table and the process when they are asked for."""

from collections.abc import Iterator
from typing import Final

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from backend.utils.llm.diagnostics.qos import QosInfo

from .dependencies import ServicesDep, identify

router: Final = APIRouter(tags=["metrics"], dependencies=[Depends(identify)])


@router.get("/metrics")
async def metrics(services: ServicesDep) -> Response:
    """Days until models go off sale, and how the arms of splits and the shadows do."""
    text = exposition(await services.qos_info())
    return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})


def exposition(qos: QosInfo) -> str:
    """``qos`` in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(_Table(qos))
    return generate_latest(registry).decode()


class _Table(Collector):
    def __init__(self, qos: QosInfo) -> None:
        self._qos = qos

    @override
    def collect(self) -> Iterator[Metric]:
        yield self._in_force()
        yield self._days_to_shutdown()
        yield from self._trials()

    def _in_force(self) -> Metric:
        about = "The table in force."
        family = GaugeMetricFamily("patchbay_table_info", about, labels=["hash", "profile"])
        family.add_metric([self._qos.table_hash, self._qos.profile], 1)
        return family

    def _days_to_shutdown(self) -> Metric:
        about = "Days until the vendor of an endpoint's model stops serving it; negative if it has."
        family = GaugeMetricFamily("patchbay_model_days_to_shutdown", about, labels=["endpoint"])
        for row in self._qos.retirements:
            family.add_metric([row.endpoint], row.days)
        return family

    def _trials(self) -> Iterator[Metric]:
        labels = ["feature", "arm"]
        requests = CounterMetricFamily("patchbay_trial_requests", "Requests of an arm.", labels=labels)
        failed = CounterMetricFamily("patchbay_trial_failures", "Those that failed.", labels=labels)
        stopped = GaugeMetricFamily("patchbay_trial_stopped", "Whether the trial is over.", labels=labels)
        for row in self._qos.trials:
            requests.add_metric([row.feature, row.arm], row.requests)
            failed.add_metric([row.feature, row.arm], row.failed)
            stopped.add_metric([row.feature, row.arm], row.stopped is not None)
        yield from (requests, failed, stopped)
