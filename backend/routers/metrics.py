"""Prometheus metrics: the counters of attempts, and the current state of the feature table."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Final

from fastapi import APIRouter, Depends, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from backend.utils.llm.diagnostics.qos import FeatureInfo, QosInfo

from .dependencies import Services, ServicesDep, identify_caller

router: Final = APIRouter(tags=["metrics"], dependencies=[Depends(identify_caller)])


@router.get("/metrics", response_class=PlainTextResponse)
async def read_metrics(services: ServicesDep) -> Response:
    """Return the metrics in Prometheus's text format.

    They cover attempts, endpoints on cooldown, the retirement of models, traffic splits and shadow calls.
    """
    text = await asyncio.to_thread(_exposition, services)
    return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})


def _exposition(services: Services) -> str:
    """The metrics as text, made in a thread, because they may have a hundred thousand lines."""
    return render_feature_table_metrics(services.facade.get_qos_info()) + services.metrics.render_text()


def render_feature_table_metrics(qos: QosInfo) -> str:
    """Write the current state of the feature table as metrics in Prometheus's text format."""
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
        yield self._resting()
        yield self._features()
        yield self._state_server()
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

    def _resting(self) -> Metric:
        about = "Keys that are left alone at an endpoint; without a model, whichever they ask for."
        labels = ["endpoint", "key_owner", "account", "state"]
        family = GaugeMetricFamily("patchbay_resting", about, labels=labels)
        keys: Counter[tuple[str, ...]] = Counter()
        for row in self._qos.health:
            keys[row.endpoint, row.key_owner, row.account or "", row.state] += row.keys
        for where, number in keys.items():
            family.add_metric(where, number)
        return family

    def _state_server(self) -> Metric:
        about = "Whether the server by which processes share limits is away; 0 also if there is none."
        return GaugeMetricFamily("patchbay_state_server_away", about, value=self._qos.notice is not None)

    def _features(self) -> Metric:
        about = "Features by what a call of the house would find now."
        family = GaugeMetricFamily("patchbay_features", about, labels=["state"])
        states = Counter(map(_state, self._qos.features.values()))
        for state in ("well", "degraded", "failing"):
            family.add_metric([state], states[state])
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


def _state(feature: FeatureInfo) -> str:
    if feature.problem is not None:
        return "failing"
    return "degraded" if feature.degraded else "well"
