"""One call of a feature: its input, its next request, its rejected answers, and its final error."""

from __future__ import annotations

import logging
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, NamedTuple

from ..cached import cached_property
from ..caller import await_without_caller
from ..interruptions import is_external_interruption
from .awaiting import run_without_event_loop
from .custom_selection import SelectorDispatch
from .hedged_dispatch import HedgedDispatch
from .loop import Dispatch
from .rejected_answers import RejectedAnswers
from .reserving import LimitReserver
from .selector_calls import ask_selector
from .steps import AskSelector, ReserveThenTry, Try

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from langchain_core.messages import AIMessage, BaseMessage

    from ..errors import LLMError
    from ..model_config import TableSnapshot
    from ..providers import CallSettings
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


class CallInput(NamedTuple):
    """The input of one call.

    Attributes:
        messages: The messages as the application passed them.
        history: The messages in normal form, as they are sent.
        stop: The stop sequences; None if there are none.
        ask: The tools, the output schema and the options of the call.
        accept: The application's own test of the answer; None if there is none.
    """

    messages: list[BaseMessage]
    history: Sequence[BaseMessage]
    stop: list[str] | None
    ask: CallSettings
    accept: Accept | None = None

    @property
    def wants_whole_answer(self) -> bool:
        """Whether a stream must hold back its chunks until the whole answer has arrived and passed its tests."""
        return self.ask.schema is not None or self.accept is not None


class Call:
    """One call of a feature, from its first request to its answer or error.

    A reload of the table does not affect the call: it keeps its ``snapshot`` of the table.

    Attributes:
        hedges: Whether a second request may be sent if the first one takes too long.
        keeps_text: Whether prompts and answers of the call are stored.
        span: The OpenTelemetry span of the call, if the application has configured spans or metrics.

    Raises:
        LLMError: On construction: no endpoint may serve the call, and nothing was sent.
    """

    span: AbstractContextManager[object, None] = _NO_SPAN
    _over: tuple[LLMError, BaseException | None] | None = None

    def __init__(self, runtime: Runtime, snapshot: TableSnapshot, route: Route, question: CallInput) -> None:
        self.runtime = runtime
        self.snapshot = snapshot
        self.question = question
        time, observers = (
            runtime.time,
            runtime.observers.select_observers(route, measures_load=snapshot.has_unordered_strategy),
        )
        kind = HedgedDispatch if route.feature.hedge else Dispatch
        if snapshot.has_custom_selectors:
            kind = SelectorDispatch
        self.dispatch = kind(route, runtime.health, clock=time.clock, random=time.random, observers=observers)
        self.hedges = route.feature.hedge
        self.keeps_text = route.feature.keep_text_days is not None

    @cached_property
    def rejected_answers(self) -> RejectedAnswers:
        """The call's answers that failed their tests: for a repair request, and to return the best if none passes."""
        return RejectedAnswers()

    @cached_property
    def reserver(self) -> LimitReserver:
        """Reserves budgets and shared rate limits for this call's requests before they are sent."""
        return LimitReserver(self.runtime, self.dispatch, self.snapshot)

    # What comes next -----------------------------------------------------------------------------------------------

    def next_try(self) -> Try:
        """Choose the next request to send; block while the call waits for an endpoint, a rate limit or a selector.

        Raises:
            LLMError: The call has ended: at its deadline, for lack of an endpoint, or by a selector.
        """
        step = self.dispatch.next_step()
        return step if isinstance(step, Try) else run_without_event_loop(self._search(step, is_sync=True))

    async def anext_try(self) -> Try:
        """Asynchronous version of `next_try`."""
        step = self.dispatch.next_step()
        return step if isinstance(step, Try) else await self._search(step, is_sync=False)

    async def _search(self, found: Try | ReserveThenTry | Wait | AskSelector, *, is_sync: bool) -> Try:
        """Wait, reserve and ask the selector until there is a request to send. On an error, leave the queue."""
        try:
            while not isinstance(found, Try):
                if isinstance(found, ReserveThenTry):
                    found = await self.reserver.reserve(found, is_sync=is_sync) or self.dispatch.next_step()
                elif isinstance(found, AskSelector):
                    found = await ask_selector(
                        self.dispatch, found, self.runtime.selectors, self.question.messages, is_sync=is_sync
                    )
                else:
                    await self._pause(found.seconds, is_sync=is_sync)
                    found = self.dispatch.next_step()
        except BaseException:
            self.dispatch.leave_rate_limit_queue()
            raise
        return found

    async def _pause(self, seconds: float, *, is_sync: bool) -> None:
        if is_sync:
            self.runtime.time.sleep(seconds)
        else:
            await await_without_caller(self.runtime.time.asleep(seconds))

    # After an attempt that failed ----------------------------------------------------------------------------------

    def set_final_error(self, error: LLMError, cause: BaseException | None) -> None:
        """Store the error that ends the call, for `raise_if_ended` to raise with ``cause`` as its ``__cause__``."""
        self._over = error, cause

    def raise_if_ended(self) -> None:
        """Raise the error that ended the call. Return if there is none, because another request may be sent.

        The attempt does not raise it: the traceback would show the attempt's frames, which hold the API key.
        """
        if self._over is None:
            return
        (error, cause), self._over = self._over, None
        try:
            raise error from cause
        finally:
            del error, cause  # else the error would hold this frame, and this frame the error

    def best_rejected_answer(self, error: LLMError) -> tuple[AIMessage, Receipt]:
        """Return the best rejected answer and its receipt, if the feature has ``on_invalid_output = "best"``.

        Raises:
            LLMError: ``error`` itself: the feature has another setting, or no rejected answer has a score.
        """
        best = self.rejected_answers.best
        if best is None or self.dispatch.route.feature.on_invalid_output != "best":
            raise error
        answer, attempt = best
        return answer, self.dispatch.make_rejected_answer_receipt(attempt)


def add_call_span(call: Call) -> Call:
    """Record ``call`` with OpenTelemetry if the application has configured spans or metrics. Returns ``call``."""
    try:
        metrics = sys.modules.get("opentelemetry.metrics")
        # Of a meter's provider that is none yet only the name of its class tells.
        is_measured = metrics is not None and type(metrics.get_meter_provider()).__name__ != _NO_METERS
        if is_measured or _is_traced():
            from .spans import CallSpan

            call.span = CallSpan(call.dispatch, call.runtime.time.now)
    except Exception as error:
        if is_external_interruption(error):
            raise
        log.exception("a call is not traced; it goes on")
    return call


def record_refused_call(runtime: Runtime, route: Route, error: LLMError) -> None:
    """Record an OpenTelemetry span for a call that failed before any request, because no endpoint may serve it."""
    try:
        if _is_traced():
            from .spans import record_refused_call_span

            record_refused_call_span(route, error, runtime.time.now())
    except Exception as fault:
        if is_external_interruption(fault):
            raise
        log.exception("a refusal is not traced")


def _is_traced() -> bool:
    trace = sys.modules[TRACING]
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
