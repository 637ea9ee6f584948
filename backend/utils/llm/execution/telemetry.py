"""Whether anybody traces with OpenTelemetry. Nothing of it is imported here: who traces has imported it."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Final

from ..interruptions import is_raised_by_nobody

if TYPE_CHECKING:
    from ..errors import LLMError
    from ..routing.route import Route
    from .call import Call
    from .runtime import Runtime

log = logging.getLogger(__name__)

API: Final = "opentelemetry.trace"
"""The module without which nobody can have configured anything."""
_NO_METERS: Final = "_ProxyMeterProvider"


def with_spans(call: Call) -> Call:
    """``call``, with spans and metrics, if OpenTelemetry has a provider of either."""
    try:
        trace, metrics = sys.modules[API], sys.modules.get("opentelemetry.metrics")
        is_traced = not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
        # Of a meter's provider that is none yet only the name of its class tells.
        is_measured = metrics is not None and type(metrics.get_meter_provider()).__name__ != _NO_METERS
        if is_traced or is_measured:
            from .spans import CallSpan

            call.span = CallSpan(call)
    except Exception as error:
        if is_raised_by_nobody(error):
            raise
        log.exception("a call is not traced; it goes on")
    return call


def trace_refusal(runtime: Runtime, route: Route, error: LLMError) -> None:
    """Tell whoever traces of a call that no endpoint may serve: its span is over at once."""
    try:
        trace = sys.modules[API]
        if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            from .spans import refusal_span

            refusal_span(route, error, runtime.time.now())
    except Exception as fault:
        if is_raised_by_nobody(fault):
            raise
        log.exception("a refusal is not traced")
