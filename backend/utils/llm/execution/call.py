"""One call of a feature: its input, its next request, its rejected answers, and its final error."""

from __future__ import annotations

import logging
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, NamedTuple

from ..cached import cached_property
from ..caller import await_without_caller
from ..interruptions import is_raised_from_outside
from .awaiting import run_blocking
from .custom_selection import CustomDispatch
from .hedged_dispatch import HedgedDispatch
from .loop import Dispatch
from .rejected_answers import RejectedAnswers
from .reserving import Reserver
from .selector_calls import ask_selector
from .steps import AskSelector, ReserveThenTry, Try

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from langchain_core.messages import AIMessage, BaseMessage

    from ..errors import LLMError
    from ..model_config import Snapshot
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
    """The input of one call: messages, stop sequences, and the application's test of the answer.

    Attributes:
        messages: The messages as the application passed them.
        history: The messages in normal form, which are sent.
        stop: The stop sequences; None if there are none.
        ask: The tools, the schema and the options of the call.
        accept: The application's own test of the answer; None if there is none.
    """

    messages: list[BaseMessage]
    history: Sequence[BaseMessage]
    stop: list[str] | None
    ask: CallSettings
    accept: Accept | None = None

    @property
    def wants_whole_answer(self) -> bool:
        """Whether a stream must hold back its chunks until the whole answer has arrived and was tested."""
        return self.ask.schema is not None or self.accept is not None


class Call:
    """One call of a feature, from its first request to its answer or error.

    It uses the same ``snapshot`` of the table throughout, even if the table is reloaded meanwhile.

    Attributes:
        hedges: Whether a second request may be sent if the first one takes too long.
        keeps_text: Whether prompts and answers of the call are stored.
        span: The OpenTelemetry span of the call, if the application has configured spans or metrics.

    Raises:
        LLMError: On construction: no endpoint may serve the call, and nothing was sent.
    """

    span: AbstractContextManager[object, None] = _NO_SPAN
    _over: tuple[LLMError, BaseException | None] | None = None

    def __init__(self, runtime: Runtime, snapshot: Snapshot, route: Route, question: CallInput) -> None:
        self.runtime = runtime
        self.snapshot = snapshot
        self.question = question
        time, observers = (
            runtime.time,
            runtime.observers.select_observers(route, is_balanced=snapshot.has_balancing_strategy),
        )
        kind = HedgedDispatch if route.feature.hedge else Dispatch
        if snapshot.has_selectors:
            kind = CustomDispatch
        self.dispatch = kind(route, runtime.health, clock=time.clock, random=time.random, observers=observers)
        self.hedges = route.feature.hedge
        self.keeps_text = route.feature.keep_text_days is not None

    @cached_property
    def rejected_answers(self) -> RejectedAnswers:
        """The answers of this call that failed their tests so far.

        They are used for a repair request, and the best one may be returned if no answer passes.
        """
        return RejectedAnswers()

    @cached_property
    def reserver(self) -> Reserver:
        """Reserves budgets and shared rate limits for this call's requests before they are sent."""
        return Reserver(self.runtime, self.dispatch, self.snapshot)

    # What comes next -----------------------------------------------------------------------------------------------

    def next_try(self) -> Try:
        """Choose the next request to send. Blocks while the call waits for an endpoint, a rate limit or a selector.

        Raises:
            LLMError: The call is over: its deadline has passed, no endpoint becomes available in time, or a
                selector ended it.
        """
        step = self.dispatch.next_step()
        return step if isinstance(step, Try) else run_blocking(self._search(step, is_sync=True))

    async def anext_try(self) -> Try:
        """Asynchronous version of `next_try`."""
        step = self.dispatch.next_step()
        return step if isinstance(step, Try) else await self._search(step, is_sync=False)

    async def _search(self, found: Try | ReserveThenTry | Wait | AskSelector, *, is_sync: bool) -> Try:
        """Wait, reserve and ask the custom selector until there is a request to send.

        A call that ends meanwhile leaves the queue.
        """
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
        """Set the error that ends the call. `raise_if_ended` raises it later, with ``cause`` as its ``__cause__``."""
        self._over = error, cause

    def raise_if_ended(self) -> None:
        """Raise the error that ended the call, if there is one; else return, because another request may be sent.

        The attempt itself does not raise it: its frames hold the signed request and the key, and would become
        part of the traceback.

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

    def best_rejected_answer(self, error: LLMError) -> tuple[AIMessage, Receipt]:
        """Return the best rejected answer and its receipt, if the feature sets ``on_invalid_output = "best"``.

        Raises:
            LLMError: ``error`` itself: the feature does not permit it, or no rejected answer has a score.
        """
        best = self.rejected_answers.best
        if best is None or self.dispatch.route.feature.on_invalid_output != "best":
            raise error
        answer, attempt = best
        return answer, self.dispatch.receipt_for_rejected(attempt)


def add_call_span(call: Call) -> Call:
    """Record spans and metrics of ``call`` with OpenTelemetry, if the application has configured a provider.

    Returns ``call``.
    """
    try:
        metrics = sys.modules.get("opentelemetry.metrics")
        # Of a meter's provider that is none yet only the name of its class tells.
        is_measured = metrics is not None and type(metrics.get_meter_provider()).__name__ != _NO_METERS
        if is_measured or _is_traced():
            from .spans import CallSpan

            call.span = CallSpan(call.dispatch, call.runtime.time.now)
    except Exception as error:
        if is_raised_from_outside(error):
            raise
        log.exception("a call is not traced; it goes on")
    return call


def trace_refused_call(runtime: Runtime, route: Route, error: LLMError) -> None:
    """Record the OpenTelemetry span of a call that failed before any request, because no endpoint may serve it."""
    try:
        if _is_traced():
            from .spans import record_refusal_span

            record_refusal_span(route, error, runtime.time.now())
    except Exception as fault:
        if is_raised_from_outside(fault):
            raise
        log.exception("a refusal is not traced")


def _is_traced() -> bool:
    trace = sys.modules[TRACING]
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
