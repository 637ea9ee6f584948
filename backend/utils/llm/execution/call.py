"""One call of a feature: its question, its next step, its rejected answers, and its end."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_core.messages import AIMessage, HumanMessage

from ..caller import without_caller
from ..errors import LLMError
from ..failures import Category
from ..interruptions import is_raised_by_nobody
from ..receipt import BudgetMark
from ..routing.plan import plan
from ..routing.route import Rejection
from .awaiting import at_once, run_blocking
from .hedged_dispatch import HedgedDispatch
from .loop import Dispatch
from .observers.reservations import withdrawn
from .own_thread import StillRunningError, answer_of, awaited_in_time, in_time
from .steps import LEAST_SECONDS, Consult, Reserve, Try

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from langchain_core.messages import BaseMessage

    from ..failures import BadAnswer
    from ..model_config import Snapshot
    from ..providers import Ask
    from ..receipt import Attempt, Receipt
    from ..routing.route import Overrun, Route
    from ..routing.selector import Choosing, Selector
    from .acceptance import Accept
    from .runtime import Runtime
    from .steps import Wait

log = logging.getLogger(__name__)

TRACING: Final = "opentelemetry.trace"
"""The module that an application which configured tracing has imported; it is not imported here."""
_NO_METERS: Final = "_ProxyMeterProvider"
_NO_SPAN = nullcontext()
_ASYNC_SELECTOR = "the selector is asynchronous: it works with ainvoke and astream only"
_ADVICE = {
    Category.INVALID_OUTPUT: "That answer does not fit: {reason}. Answer again, with nothing but what was asked for.",
    Category.TRUNCATED: "Your answer was cut off at the length limit. Answer again: complete, and shorter.",
}


class Question(NamedTuple):
    """The input of a call by product code.

    Attributes:
        messages: The messages as they were given.
        history: The messages in normal form, which are sent.
        stop: Texts at which the answer ends.
        accept: A further test of the answer.
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
    """One call of a feature, which uses one ``snapshot`` to its end, even if the table is reloaded meanwhile.

    Attributes:
        hedges: Whether its first request may be hedged by a second one.
        keeps_text: Whether its prompts and answers are stored.
        repair: The messages that ask the model to correct a rejected answer.
        span: The OpenTelemetry span of the call, if spans or metrics are configured.

    Raises:
        LLMError: On construction: no endpoint may serve the call, and nothing was sent.
    """

    span: AbstractContextManager[object, None] = _NO_SPAN
    _best: tuple[AIMessage, Attempt] | None = None
    _over: tuple[LLMError, BaseException | None] | None = None

    def __init__(self, runtime: Runtime, snapshot: Snapshot, route: Route, question: Question) -> None:
        self.runtime = runtime
        self.snapshot = self._profile = snapshot
        self.question = question
        time, observers = runtime.time, runtime.observers.of(route, is_balanced=snapshot.is_balanced)
        dispatch = HedgedDispatch if route.feature.hedge else Dispatch
        self.dispatch = dispatch(
            route, runtime.health, clock=time.clock, random=time.random, observers=observers
        )
        self.hedges = route.feature.hedge
        self.keeps_text = route.feature.keep_text_days is not None
        self.repair: list[BaseMessage] = []

    # What comes next -----------------------------------------------------------------------------------------------

    def step(self) -> Try:
        """The next request to send.

        Raises:
            LLMError: The call is over: its deadline has passed, only resting endpoints are left, or a selector ends it.
        """
        step = self.dispatch.next()
        return step if isinstance(step, Try) else run_blocking(self._search(step, blocks=True))

    async def astep(self) -> Try:
        """The next request to send, awaited; as `step`."""
        step = self.dispatch.next()
        return step if isinstance(step, Try) else await self._search(step, blocks=False)

    async def _search(self, found: Try | Reserve | Wait | Consult, *, blocks: bool) -> Try:
        """Wait, reserve and ask the custom selector until there is a request to send.

        A call that ends meanwhile leaves the queue.
        """
        try:
            while not isinstance(found, Try):
                if isinstance(found, Reserve):
                    found = await self.held(found, blocks=blocks) or self.dispatch.next()
                elif isinstance(found, Consult):
                    with self._selector_errors(found):
                        choice = self._consult(found) if blocks else await self._aconsult(found)
                    found = self.dispatch.choose(choice)
                else:
                    await self._pause(found.seconds, blocks=blocks)
                    found = self.dispatch.next()
        except BaseException:
            self.dispatch.leave_queue()
            raise
        return found

    async def held(self, reserve: Reserve, *, blocks: bool) -> Try | None:
        """The request to send, once its budgets and limits are reserved; None if it may not be sent now."""
        reservations, dispatch, step = self.runtime.reservations, self.dispatch, reserve.step
        unsent = partial(withdrawn, step, self.runtime.time)
        try:
            if not await self._has_place(step, blocks=blocks):
                dispatch.put_back(reserve, unsent())
                return None
            if blocks or not reservations.waits:
                outcome = reservations.reserve(step)
            else:
                outcome = await without_caller(reservations.areserve(step))
        except BaseException:
            dispatch.withdraw(step, unsent())
            raise
        if not isinstance(outcome, Rejection):
            if dispatch.seconds_left >= LEAST_SECONDS:
                return dispatch.grant(step, outcome)
            dispatch.withdraw(step, unsent())
            return None
        if dispatch.decline(step, unsent(), outcome):
            self._step_down()
        return None

    async def _has_place(self, step: Try, *, blocks: bool) -> bool:
        """Whether it finds room under the limits, as other processes see them."""
        limits = self.runtime.health.traffic.rate_limiter
        if not step.candidate.meters:
            return True
        return limits.reserve(step.number) if blocks else await without_caller(limits.areserve(step.number))

    def _step_down(self) -> None:
        """Go on in the profile below, if a budget for which this one was too dear says so."""
        route, lower = self.dispatch.route, self._profile.lower
        marks = [
            BudgetMark(one.budget, one.per, "stepped_down") for one in _overruns(route) if one.steps_down
        ]
        if lower is None or not marks:
            return
        self._profile, runtime = lower, self.runtime
        below = plan(
            lower, route.feature.name, route.caller, route.needs, today=route.today, health=runtime.health
        )
        both = route._replace(resting=route.candidates + route.resting + below.candidates + below.resting)
        observers = runtime.observers.of(both, is_balanced=lower.is_balanced)
        self.dispatch.step_down(below, observers, tuple(dict.fromkeys(marks)))

    async def _pause(self, seconds: float, *, blocks: bool) -> None:
        if blocks:
            self.runtime.time.sleep(seconds)
        else:
            await without_caller(self.runtime.time.asleep(seconds))

    def _consult(self, step: Consult) -> Any:
        """The result of the custom selector, within the call's deadline."""
        selector, choosing = self._asked(step)
        choice = in_time(partial(selector, choosing), choosing.seconds_left)
        return at_once(choice, _ASYNC_SELECTOR)

    async def _aconsult(self, step: Consult) -> Any:
        """The result of the custom selector, which may be asynchronous; as `_consult`."""
        selector, choosing = self._asked(step)
        return await awaited_in_time(answer_of(partial(selector, choosing)), choosing.seconds_left)

    def _asked(self, step: Consult) -> tuple[Selector, Choosing]:
        choosing = replace(step.choosing, messages=tuple(self.question.messages))
        return self.runtime.selectors[step.selector], choosing

    @contextmanager
    def _selector_errors(self, step: Consult) -> Iterator[None]:
        """Turn what a custom selector raises into the error that ends the call."""
        try:
            yield
        except LLMError:
            raise
        except StillRunningError:
            what = "did not answer within the call's deadline"
            raise self.dispatch.selector_error(step.selector, what) from None
        except Exception as error:
            raise self.dispatch.selector_error(
                step.selector, f"failed with {type(error).__name__}"
            ) from error

    # After an attempt that failed ----------------------------------------------------------------------------------

    def end(self, error: LLMError, cause: BaseException | None) -> None:
        """Record that an attempt failed with ``error`` and that no other may follow."""
        self._over = error, cause

    def go_on(self) -> None:
        """Return if another attempt may follow.

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

    def reject(self, answer: AIMessage | None, fault: BadAnswer, attempt: Attempt) -> None:
        """Keep a rejected answer for the repair prompt, and as a candidate for `second_best`."""
        if answer is not None and attempt.score is not None:
            best = self._best[1].score if self._best is not None else None
            if best is None or attempt.score > best:
                self._best = answer, attempt
        advice = _ADVICE.get(fault.category)
        if advice is None:
            return
        is_short = fault.category is not Category.TRUNCATED
        text = answer.text if answer is not None else ""
        rejected = [AIMessage(text)] if text and is_short else []
        reason = fault.reason or "it is not what was asked for"
        self.repair = [*rejected, HumanMessage(advice.format(reason=reason))]

    def second_best(self, error: LLMError) -> tuple[AIMessage, Receipt]:
        """The best of the rejected answers instead of ``error``, if the feature's row permits it.

        Raises:
            LLMError: ``error``: the row does not permit it, or there is no rejected answer with a score.
        """
        if self._best is None or self.dispatch.route.feature.on_invalid_output != "best":
            raise error
        answer, attempt = self._best
        return answer, self.dispatch.settled_for(attempt)


def with_spans(call: Call) -> Call:
    """``call``, with spans and metrics if a provider for either is configured in OpenTelemetry."""
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
    """Make the span of a call that no endpoint may serve."""
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


def _overruns(route: Route) -> Iterator[Overrun]:
    return (skip.over for skip in route.skipped if skip.over is not None)
