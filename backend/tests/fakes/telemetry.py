"""OpenTelemetry as an application configures it, with everything kept in memory."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.metrics import _internal as meters
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.metrics.export import DataPointT
    from opentelemetry.sdk.trace import ReadableSpan


class Telemetry:
    """What was exported."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)

    def watched_by(self, processor: SpanProcessor) -> None:
        """Let ``processor`` see every span, too."""
        self.tracers.add_span_processor(processor)

    @property
    def spans(self) -> list[ReadableSpan]:
        """In the order in which they ended."""
        return list(self._exporter.get_finished_spans())

    @property
    def call(self) -> ReadableSpan:
        """That of the one call."""
        (span,) = (one for one in self.spans if one.name.startswith("invoke_workflow "))
        return span

    @property
    def attempts(self) -> list[ReadableSpan]:
        """Those below calls."""
        return [span for span in self.spans if span.kind is trace.SpanKind.CLIENT]

    def measured(self, name: str) -> list[DataPointT]:
        """All series of a metric."""
        data = self._reader.get_metrics_data()
        metrics = (
            metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        )
        return [point for metric in metrics if metric.name == name for point in metric.data.data_points]


@contextmanager
def configured(telemetry: Telemetry) -> Iterator[Telemetry]:
    """``telemetry`` in force. The API lets a process set its providers once, and tests are many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "_TRACER_PROVIDER", telemetry.tracers)
        patch.setattr(meters, "_METER_PROVIDER", telemetry.meters)
        yield telemetry
    telemetry.tracers.shutdown()
    telemetry.meters.shutdown()


def told(span: ReadableSpan) -> dict[str, Any]:
    """The attributes of ``span``."""
    return dict(span.attributes or {})
