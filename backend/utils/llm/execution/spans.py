"""Spans and metrics of OpenTelemetry, by its conventions for generative AI.

A call is a span ``invoke_workflow {feature}``; below it each request that was sent is a span ``chat {model}``. They
contain no prompt, answer, key or user. They are made from the receipt when a request is over: so they cost nothing under
a lock, and are the same for every kind of call.

The names are those of https://github.com/open-telemetry/semantic-conventions-genai in November 2026; what begins with
``patchbay`` is ours.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

from opentelemetry import context as contexts
from opentelemetry import metrics, trace
from typing_extensions import override

from ..errors import LLMError
from ..failures import is_control_flow
from ..interruptions import is_external_interruption
from ..model_config import OWN
from .observers import ObserverList

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.metrics import Histogram, MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider

    from ..failures import ClassifiedFailure
    from ..model_config import Endpoint, Provider
    from ..options import Options
    from ..receipt import Attempt
    from ..routing.route import Route
    from .loop import Dispatch
    from .observers.base import AttemptObserver
    from .steps import Try

    Attributes = dict[str, Any]

log = logging.getLogger(__name__)

NAME: Final = "patchbay"
"""The name of the tracer and the meter."""
PROVIDERS: Final = {
    "azure": "azure.ai.openai",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshotai": "moonshot_ai",
    "x-ai": "x_ai",
}
"""Vendors whose name in the conventions differs from ours."""
_PORTS: Final = {"http": 80, "https": 443}
_VERTEX: Final = "aiplatform.googleapis.com"
_SECONDS: Final = [0.01 * 2**power for power in range(14)]
_TOKENS: Final = [4**power for power in range(14)]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FAILED: Final = "a span failed; the call goes on"


class OtelInstruments(NamedTuple):
    """The OpenTelemetry instruments of Patchbay.

    Attributes:
        tracer: Makes the spans.
        duration: The durations of attempts, in seconds.
        first_chunk: The times to a stream's first content, in seconds.
        tokens: The input and output tokens of attempts.
    """

    tracer: Tracer
    duration: Histogram
    first_chunk: Histogram
    tokens: Histogram


@lru_cache(maxsize=4)
def _instruments(tracers: TracerProvider, meters: MeterProvider) -> OtelInstruments:
    meter = meters.get_meter(NAME)
    return OtelInstruments(
        tracers.get_tracer(NAME),
        meter.create_histogram(
            "gen_ai.client.operation.duration",
            "s",
            "GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        ),
        meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            "s",
            "Time to the first chunk of a stream that has content.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        ),
        meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        ),
    )


class CallSpan:
    """The OpenTelemetry span of one call, as a context manager.

    Within the ``with`` block it is the current span. Not so for a stream, which yields to the caller's code.

    Args:
        dispatch: The attempt loop of the call. Its attempts become child spans from now on.
        now: Returns the current time.
    """

    _span: Span = trace.INVALID_SPAN
    _token: Any = None

    def __init__(self, dispatch: Dispatch, now: Callable[[], datetime]) -> None:
        self._dispatch = dispatch
        self._now = now
        self.instruments = _instruments(trace.get_tracer_provider(), metrics.get_meter_provider())
        self.context: Context = contexts.get_current()
        self._observed = TracedObservers(dispatch.observers, self)
        dispatch.observers = self._observed

    def __enter__(self) -> Self:
        route = self._dispatch.route
        try:
            self._span = self.instruments.tracer.start_span(
                _name(route),
                attributes=_of_call(route),
                start_time=_nanoseconds(self._now()),
            )
            self.context = trace.set_span_in_context(self._span)
            if not route.needs.streams:
                self._token = contexts.attach(self.context)
        except Exception as error:
            if is_external_interruption(error):
                self.__exit__(type(error), error, None)
                raise
            log.exception(_FAILED)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_: TracebackType | None
    ) -> None:
        try:
            if self._token is not None:
                contexts.detach(self._token)
            self._span.set_attributes(self._outcome())
            if error is not None:
                _fail(self._span, error)
            self._span.end(_nanoseconds(self._now()))
        except Exception as fault:
            if is_external_interruption(fault):
                raise
            log.exception(_FAILED)

    def _outcome(self) -> Attributes:
        answered, route = self._observed.answered, self._dispatch.route
        is_degraded = answered is not None and route.is_degraded(answered.candidate)
        return _known(
            {
                "patchbay.attempts": len(self._dispatch.attempts),
                "patchbay.endpoint": _shown(answered.candidate.endpoint) if answered is not None else None,
                "patchbay.degraded": is_degraded if answered is not None else None,
            }
        )


class TracedObservers(ObserverList):
    """The observers of a call, called within the OpenTelemetry span of the attempt.

    Attributes:
        answered: The request that got a good answer; None while there is none.
    """

    def __init__(self, observers: Iterable[AttemptObserver], call: CallSpan) -> None:
        super().__init__(observers)
        self._call = call
        self.answered: Try | None = None

    @override
    def with_observer(self, other: AttemptObserver) -> TracedObservers:
        """Return a copy with ``other`` added at the end."""
        return TracedObservers((*self, other), self._call)

    @override
    def notify_ended(self, step: Try, attempt: Attempt, failure: ClassifiedFailure | None) -> None:
        """Record the attempt as a span, and call `AttemptObserver.on_ended` of each observer within the span."""
        span = None if attempt.withdrawn else self._begun(step, attempt)
        if failure is None:
            self.answered = step
        if span is None:
            super().notify_ended(step, attempt, failure)
            return
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            super().notify_ended(step, attempt, failure)
            self._end(span, step, attempt)

    def _begun(self, step: Try, attempt: Attempt) -> Span | None:
        try:
            operation, model = _operation(step.candidate.endpoint), _model(step.candidate.endpoint)
            return self._call.instruments.tracer.start_span(
                f"{operation} {model}" if model else operation,
                context=self._call.context,
                kind=trace.SpanKind.CLIENT,
                attributes=_known(_asked(step)),
                start_time=_nanoseconds(attempt.started),
            )
        except Exception as error:
            if is_external_interruption(error):
                raise
            log.exception(_FAILED)
            return None

    def _end(self, span: Span, step: Try, attempt: Attempt) -> None:
        try:
            if span.is_recording():  # else the sampler has left it out
                span.set_attributes(_known(_answered(attempt)))
            if attempt.outcome in {"failed", "rejected"}:
                span.set_status(trace.StatusCode.ERROR, attempt.category and attempt.category.value)
            span.end(_nanoseconds(attempt.started + attempt.duration))
            self._measure(step, attempt)
        except Exception as error:
            if is_external_interruption(error):
                raise
            log.exception(_FAILED)

    def _measure(self, step: Try, attempt: Attempt) -> None:
        instruments = self._call.instruments
        where = _known(
            {
                **_who(step.candidate.endpoint),
                "error.type": attempt.category and attempt.category.value,
                "patchbay.feature": step.route.feature.name,
                "patchbay.key_owner": attempt.key_owner,
            }
        )
        instruments.duration.record(attempt.duration.total_seconds(), where)
        if attempt.first_token is not None:
            instruments.first_chunk.record(attempt.first_token.total_seconds(), where)
        if attempt.usage is not None and not attempt.estimated:
            instruments.tokens.record(attempt.usage.input, where | {"gen_ai.token.type": "input"})
            instruments.tokens.record(attempt.usage.output, where | {"gen_ai.token.type": "output"})


def record_refused_call_span(route: Route, error: LLMError, now: datetime) -> None:
    """Record the span of a call that failed with ``error`` before any request: no endpoint may serve it."""
    tracer = _instruments(trace.get_tracer_provider(), metrics.get_meter_provider()).tracer
    span = tracer.start_span(_name(route), attributes=_of_call(route), start_time=_nanoseconds(now))
    _fail(span, error)
    span.end(_nanoseconds(now))


def _name(route: Route) -> str:
    return f"invoke_workflow {route.feature.name}"


def _of_call(route: Route) -> Attributes:
    """The attributes of a call that are known before any attempt."""
    return _known(
        {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": route.feature.name,
            "gen_ai.conversation.id": route.caller.conversation_id,
            "patchbay.call_id": route.call_id,
            "patchbay.feature": route.feature.name,
            "patchbay.profile": route.profile,
            "patchbay.table_hash": route.table_hash,
            "patchbay.arm": route.arm,
        }
    )


def _asked(step: Try) -> Attributes:
    """The attributes of a request: operation, model, provider and options."""
    candidate, route = step.candidate, step.route
    return {
        **_who(candidate.endpoint),
        **_options(candidate.options),
        "gen_ai.conversation.id": route.caller.conversation_id,
        "gen_ai.output.type": "json" if route.needs.structured_output else None,
        "gen_ai.request.stream": True if route.needs.streams else None,
        "patchbay.call_id": route.call_id,
        "patchbay.feature": route.feature.name,
        "patchbay.profile": candidate.profile,
        "patchbay.endpoint": _shown(candidate.endpoint),
        "patchbay.key_owner": candidate.owner,
        "patchbay.account": candidate.account_name,
        "patchbay.hedge": step.hedge,
        "patchbay.probe": step.probe,
        "patchbay.repair": step.repair,
    }


def _answered(attempt: Attempt) -> Attributes:
    """The attributes of an outcome, without token counts that are only our estimate."""
    first = attempt.first_token
    return {
        "gen_ai.response.model": attempt.served_model,
        "gen_ai.response.finish_reasons": [attempt.finish_reason] if attempt.finish_reason else None,
        "gen_ai.response.time_to_first_chunk": None if first is None else first.total_seconds(),
        **({} if attempt.estimated else _usage(attempt)),
        "error.type": attempt.category and attempt.category.value,
        "http.response.status_code": attempt.status,
        "patchbay.outcome": attempt.outcome,
        "patchbay.request_id": attempt.request_id,
        "patchbay.estimated": attempt.estimated,
        "patchbay.cost_usd": None if attempt.cost_usd is None else float(attempt.cost_usd),
    }


def _usage(attempt: Attempt) -> Attributes:
    """Token counts; cached tokens are part of the input, and reasoning tokens of the output."""
    usage = attempt.usage
    if usage is None:
        return {}
    return {
        "gen_ai.usage.input_tokens": usage.input,
        "gen_ai.usage.output_tokens": usage.output,
        "gen_ai.usage.cache_read.input_tokens": usage.cached,
        "gen_ai.usage.cache_write.input_tokens": usage.cache_write,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
    }


def _options(options: Options) -> Attributes:
    return {
        "gen_ai.request.temperature": options.temperature,
        "gen_ai.request.top_p": options.top_p,
        "gen_ai.request.seed": options.seed,
        "gen_ai.request.max_tokens": options.max_output_tokens,
        "gen_ai.request.reasoning.level": options.effort,
    }


def _who(endpoint: Endpoint) -> Attributes:
    """The endpoint by the names of the conventions; for a user's own endpoint neither address nor model."""
    address, port = _server(endpoint.provider)
    return {
        "gen_ai.operation.name": _operation(endpoint),
        "gen_ai.provider.name": _provider(endpoint),
        "gen_ai.request.model": _model(endpoint),
        "server.address": address,
        "server.port": port,
    }


def _server(provider: Provider) -> tuple[str, int] | tuple[None, None]:
    """The provider's address; none for an embedded model, whose address in the table is a placeholder."""
    if provider.access in {OWN, "embedded"}:
        return None, None
    url = urlsplit(provider.base_url)
    return provider.host, url.port or _PORTS[url.scheme]


def _operation(endpoint: Endpoint) -> str:
    return "generate_content" if endpoint.provider.api == "gemini" else "chat"


def _provider(endpoint: Endpoint) -> str:
    provider = endpoint.provider
    if provider.access == OWN:
        return OWN
    if provider.host.endswith(_VERTEX):
        return "gcp.vertex_ai"
    name = provider.vendor.name or provider.name
    return PROVIDERS.get(name, name)


def _model(endpoint: Endpoint) -> str | None:
    return None if endpoint.provider.access == OWN else endpoint.model_id


def _shown(endpoint: Endpoint) -> str:
    return OWN if endpoint.provider.access == OWN else str(endpoint)


def _fail(span: Span, error: BaseException) -> None:
    """Mark the span as failed. Only our own errors' texts are kept, because others may quote an answer. A cancelled call did not fail."""
    if is_control_flow(error):
        span.set_attribute("error.type", "cancelled")
    elif isinstance(error, LLMError):
        span.set_attribute("error.type", error.code)
        span.set_status(trace.StatusCode.ERROR, str(error))
    else:
        span.set_attribute("error.type", type(error).__qualname__)
        span.set_status(trace.StatusCode.ERROR)


def _known(attributes: Mapping[str, Any]) -> Attributes:
    return {name: value for name, value in attributes.items() if value is not None}


def _nanoseconds(moment: datetime) -> int:
    """Nanoseconds since 1970, exact to the microsecond."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
