"""One call of a feature: its question, its next step, its rejected answers, and its end."""

from __future__ import annotations

import logging
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, NamedTuple

from ..cached import cached_property
from ..caller import without_caller
from ..interruptions import is_raised_by_nobody
from .awaiting import run_blocking
from .custom_selection import CustomDispatch
from .hedged_dispatch import HedgedDispatch
from .loop import Dispatch
from .rejected_answers import RejectedAnswers
from .reserving import Reserver
from .selector_calls import ask_selector
from .steps import Consult, Reserve, Try

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from langchain_core.messages import AIMessage, BaseMessage

    from ..errors import LLMError
    from ..model_config import Snapshot
    from ..providers import Ask
    from ..receipt import Receipt
    from ..routing.route import Route
    from .acceptance import Accept
    from .runtime import Runtime
    from .steps import Wait

log = logging.getLogger(__name__)

TRACING: Final = "opentelemetry.trace"
"""The module that an application which configured tracing has imported; it is not imported here."""
_NO_METERS: Final = "_ProxyMeterProvider"
_NO_SPAN = nullcontext()


class Question(NamedTuple):
    """What the application passed to one call: messages, stop texts, and its test of the answer.

    Attributes:
        messages: The messages as they were given.
        history: The messages in normal form, which are sent.
        stop: Texts at which the model ends its answer; None for none.
        accept: The caller's own test of the answer; None if there is none.
    """

    messages: list[BaseMessage]
    history: Sequence[BaseMessage]
    stop: list[str] | None
    ask: Ask
    accept: Accept | None = None

    @property
    def wants_whole_answer(self) -> bool:
        """Whether a stream must hold its chunks back until the whole answer was tested."""
        return self.ask.schema is not None or self.accept is not None


class Call:
    """One call of a feature, from its first request to its answer or error.

    It uses one ``snapshot`` of the table to its end, even if the table is reloaded meanwhile.

    Attributes:
        hedges: Whether a second request may be sent if the first one takes too long.
        keeps_text: Whether prompts and answers of the call are stored.
        span: The OpenTelemetry span of the call, if spans or metrics are configured.

    Raises:
        LLMError: On construction: no endpoint may serve the call, and nothing was sent.
    """

    span: AbstractContextManager[object, None] = _NO_SPAN
    _over: tuple[LLMError, BaseException | None] | None = None

    def __init__(self, runtime: Runtime, snapshot: Snapshot, route: Route, question: Question) -> None:
        self.runtime = runtime
        self.snapshot = snapshot
        self.question = question
        time, observers = runtime.time, runtime.observers.of(route, is_balanced=snapshot.is_balanced)
        kind = HedgedDispatch if route.feature.hedge else Dispatch
        if snapshot.has_selectors:
            kind = CustomDispatch
        self.dispatch = kind(route, runtime.health, clock=time.clock, random=time.random, observers=observers)
        self.hedges = route.feature.hedge
        self.keeps_text = route.feature.keep_text_days is not None

    @cached_property
    def rejected(self) -> RejectedAnswers:
        """The answers so far that failed their tests: for a repair, and as a last resort for the caller."""
        return RejectedAnswers()

    @cached_property
    def reserver(self) -> Reserver:
        """The object that reserves budgets and shared limits for the call's requests before they are sent."""
        return Reserver(self.runtime, self.dispatch, self.snapshot)

    # What comes next -----------------------------------------------------------------------------------------------

    def step(self) -> Try:
        """Find the next request to send; blocks while the call waits for an endpoint, a limit or a selector.

        Raises:
            LLMError: The call is over: its deadline has passed, only resting endpoints are left, or a selector ends it.
        """
        step = self.dispatch.next()
        return step if isinstance(step, Try) else run_blocking(self._search(step, blocks=True))

    async def astep(self) -> Try:
        """Find the next request to send without blocking the event loop; as `step`."""
        step = self.dispatch.next()
        return step if isinstance(step, Try) else await self._search(step, blocks=False)

    async def _search(self, found: Try | Reserve | Wait | Consult, *, blocks: bool) -> Try:
        """Wait, reserve and ask the custom selector until there is a request to send.

        A call that ends meanwhile leaves the queue.
        """
        try:
            while not isinstance(found, Try):
                if isinstance(found, Reserve):
                    found = await self.reserver.reserve(found, blocks=blocks) or self.dispatch.next()
                elif isinstance(found, Consult):
                    found = await ask_selector(
                        self.dispatch, found, self.runtime.selectors, self.question.messages, blocks=blocks
                    )
                else:
                    await self._pause(found.seconds, blocks=blocks)
                    found = self.dispatch.next()
        except BaseException:
            self.dispatch.leave_queue()
            raise
        return found

    async def _pause(self, seconds: float, *, blocks: bool) -> None:
        if blocks:
            self.runtime.time.sleep(seconds)
        else:
            await without_caller(self.runtime.time.asleep(seconds))

    # After an attempt that failed ----------------------------------------------------------------------------------

    def end(self, error: LLMError, cause: BaseException | None) -> None:
        """End the call with ``error``: the next `raise_if_over` raises it, with ``cause`` as its cause."""
        self._over = error, cause

    def raise_if_over(self) -> None:
        """Raise the error that ended the call; return if another attempt may follow.

        The error is raised here, not in the attempt, whose frames hold the signed request and its key.

        Raises:
            LLMError: The call is over.
        """
        if self._over is None:
            return
        (error, cause), self._over = self._over, None
        try:
            raise error from cause
        finally:
            del error, cause  # else the error would hold this frame, and this frame the error

    def second_best(self, error: LLMError) -> tuple[AIMessage, Receipt]:
        """Return the best of the rejected answers instead of raising ``error``, if the feature's row permits it.

        Raises:
            LLMError: ``error``: the row does not permit it, or there is no rejected answer with a score.
        """
        best = self.rejected.best
        if best is None or self.dispatch.route.feature.on_invalid_output != "best":
            raise error
        answer, attempt = best
        return answer, self.dispatch.succeeded_with_rejected(attempt)


def with_spans(call: Call) -> Call:
    """Add OpenTelemetry's spans and metrics to ``call``, if the application has configured a provider for either."""
    try:
        metrics = sys.modules.get("opentelemetry.metrics")
        # Of a meter's provider that is none yet only the name of its class tells.
        is_measured = metrics is not None and type(metrics.get_meter_provider()).__name__ != _NO_METERS
        if is_measured or _is_traced():
            from .spans import CallSpan

            call.span = CallSpan(call.dispatch, call.runtime.time.now)
    except Exception as error:
        if is_raised_by_nobody(error):
            raise
        log.exception("a call is not traced; it goes on")
    return call


def trace_refusal(runtime: Runtime, route: Route, error: LLMError) -> None:
    """Record the span of a call that no endpoint may serve, for which no `Call` exists."""
    try:
        if _is_traced():
            from .spans import refusal_span

            refusal_span(route, error, runtime.time.now())
    except Exception as fault:
        if is_raised_by_nobody(fault):
            raise
        log.exception("a refusal is not traced")


def _is_traced() -> bool:
    trace = sys.modules[TRACING]
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
