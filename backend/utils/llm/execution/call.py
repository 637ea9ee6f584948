"""One call of a feature: it makes attempts until dispatch says that it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from dataclasses import replace
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import AIMessage, HumanMessage

from ..caller import context_without_caller, without_caller
from ..errors import LLMError
from ..failures import Category
from ..transport import Credential
from .attempt import RunningAttempt
from .awaiting import at_once
from .loop import Dispatch
from .observers.shadow import ShadowObserver
from .steps import Consult, Try

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import BaseMessage

    from ..failures import BadAnswer
    from ..model_config import Share, Snapshot
    from ..providers import Ask
    from ..receipt import Attempt, Receipt
    from ..routing.route import Candidate, Route
    from ..structured import Schema
    from .runtime import Runtime
    from .steps import Wait

_ASYNC_SELECTOR = "the selector is asynchronous: it works with ainvoke and astream only"

_ADVICE = {
    Category.INVALID_OUTPUT: "That answer does not fit: {reason}. Answer again, with nothing but what was asked for.",
    Category.TRUNCATED: "Your answer was cut off at the length limit. Answer again: complete, and shorter.",
}

Accept = Callable[[Any], "float | bool | Awaitable[float | bool | None] | None"]
"""A further test of an answer: of the object if there is a schema, else of the message.

False rejects it, and so does a ``ValueError``, whose text is told to the model. A figure from 0 to 1 says how good it is:
less than is enough rejects it too. Anything else that it raises is raised.
"""


class Question(NamedTuple):
    """What product code asks.

    Attributes:
        stop: Words at which the answer ends.
        accept: A further test of the answer.
    """

    messages: list[BaseMessage]
    stop: list[str] | None
    ask: Ask
    accept: Accept | None = None


class Call:
    """One call of a feature.

    Raises:
        LLMError: On construction, if no endpoint may serve it: nothing was sent.
    """

    def __init__(
        self,
        runtime: Runtime,
        snapshot: Snapshot,
        route: Route,
        question: Question,
    ) -> None:
        self.runtime = runtime
        self.snapshot = snapshot
        self.question = question
        observers = runtime.observers.of(route, is_balanced=snapshot.is_balanced)
        if route.feature.shadow:
            observers = observers.and_then(ShadowObserver(runtime.shadows, self._copy_for))
        time = runtime.time
        self.dispatch = Dispatch(
            route, runtime.health, clock=time.clock, random=time.random, observers=observers
        )
        self._repair: list[BaseMessage] = []
        self._best: tuple[AIMessage, Attempt] | None = None
        self._ended: tuple[LLMError, BaseException | None] | None = None

    def _copy_for(self, share: Share) -> Callable[[], None] | None:
        """What sends a copy to an endpoint that is only watched; None if that one may not serve it.

        Only where the house alone may pay: a user's key, or what they say to it, is not for our curiosity.
        """
        route = self.dispatch.route
        if route.is_shadow or route.policy != "house_only":
            return None
        copy = self.runtime.shadow_plan(self.snapshot, route, share)
        if not copy.candidates or copy.candidates[0].rest is not None:
            return None
        return Call(self.runtime, self.snapshot, copy, self.question._replace(accept=None)).send_copy

    def send_copy(self) -> None:
        """Make one attempt, for nobody.

        Raises:
            LLMError: It failed.
        """
        with self.attempt() as attempt:
            attempt.generate()
            return
        self.go_on()

    @property
    def schema(self) -> Schema | None:
        """What the answer has to look like."""
        return self.question.ask.schema

    @property
    def needs_whole_answer(self) -> bool:
        """Whether nothing may be handed on before the answer was tested."""
        return self.schema is not None or self.question.accept is not None

    def end(self, error: LLMError, cause: BaseException | None) -> None:
        """An attempt failed, and nothing is left to try."""
        self._ended = error, cause

    def go_on(self) -> None:
        """After an attempt that failed: return if there may be another one.

        It raises here, and not where the attempt failed: there its request is at hand, and with it the key.

        Raises:
            LLMError: The call is over.
        """
        if self._ended is None:
            return
        (error, cause), self._ended = self._ended, None
        try:
            raise error from cause
        finally:
            del error, cause  # else the error would hold this frame, and this frame the error

    def attempt(self) -> RunningAttempt:
        """The next attempt, as a context that swallows its failure; then comes `go_on`.

        Raises:
            LLMError: The call is over: its time is up, or all that is left is resting, or a selector ends it.
        """
        step = self.dispatch.next()
        if not isinstance(step, Try):
            with self._searching():
                step = self._search(step)
        return RunningAttempt(self, step)

    def _search(self, step: Wait | Consult) -> Try:
        found: Try | Wait | Consult = step
        while not isinstance(found, Try):
            if isinstance(found, Consult):
                with self._selecting(found):
                    choice = at_once(self._say(found), _ASYNC_SELECTOR)
                found = self.dispatch.choose(choice)
            else:
                self.runtime.time.sleep(found.seconds)
                found = self.dispatch.next()
        return found

    async def aattempt(self) -> RunningAttempt:
        """As `attempt`."""
        step = self.dispatch.next()
        if not isinstance(step, Try):
            with self._searching():
                step = await self._asearch(step)
        return RunningAttempt(self, step)

    async def _asearch(self, step: Wait | Consult) -> Try:
        found: Try | Wait | Consult = step
        while not isinstance(found, Try):
            if isinstance(found, Consult):
                with self._selecting(found):
                    choice = await self._await(self._say(found), found)
                found = self.dispatch.choose(choice)
            else:
                await without_caller(self.runtime.time.asleep(found.seconds))
                found = self.dispatch.next()
        return found

    def hedge_after(self, attempt: RunningAttempt) -> float | None:
        """In how many seconds another request may go out beside ``attempt``; None if none may."""
        return self.dispatch.hedge_after(attempt.step)

    def hedge(self, attempt: RunningAttempt) -> RunningAttempt | None:
        """The request that goes out beside ``attempt``, which has taken too long; None if none may now."""
        step = self.dispatch.hedge(attempt.step)
        return None if step is None else RunningAttempt(self, step)

    async def _await(self, said: Any, step: Consult) -> Any:
        """What a selector says, if it says so within the deadline."""
        if not isawaitable(said):
            return said
        try:
            async with asyncio.timeout(None) as clock:
                ends_at = asyncio.get_running_loop().time() + step.choosing.seconds_left
                context_without_caller().run(clock.reschedule, ends_at)
                return await said
        except TimeoutError:
            raise self.dispatch.astray(step.selector, "did not answer within the call's deadline") from None

    def _say(self, step: Consult) -> Any:
        """What the selector says, or a promise of it."""
        selector = self.runtime.selectors[step.selector]
        return selector(replace(step.choosing, messages=tuple(self.question.messages)))

    @contextmanager
    def _searching(self) -> Iterator[None]:
        """Whatever ends the call while it looks for an endpoint, it leaves the queue."""
        try:
            yield
        except BaseException:
            self.dispatch.leave_queue()
            raise

    @contextmanager
    def _selecting(self, step: Consult) -> Iterator[None]:
        """A selector that fails ends the call, loudly."""
        try:
            yield
        except LLMError:
            raise
        except Exception as error:
            raise self.dispatch.astray(step.selector, f"failed with {type(error).__name__}") from error

    def ask(self, candidate: Candidate) -> Ask:
        """What is asked of ``candidate``."""
        return self.question.ask._replace(options=candidate.options)

    def credential(self, candidate: Candidate) -> Credential:
        """The credential that the route chose for ``candidate``."""
        if candidate.owner == "user":
            return Credential("user", self.dispatch.route.caller.key_for(candidate.endpoint.provider))
        slot = candidate.account.slot if candidate.account else ""
        return Credential("house", self.snapshot.house_keys.get(slot))

    # Repair --------------------------------------------------------------------------------------------------------

    def reject(self, answer: AIMessage | None, fault: BadAnswer) -> None:
        """Remember an answer that does not do, for the repair that may follow."""
        advice = _ADVICE.get(fault.category)
        if advice is None:
            return
        is_short = fault.category is not Category.TRUNCATED
        # Half a surrogate pair, which a sloppy server may send, cannot be sent back.
        text = answer.text.encode(errors="replace").decode() if answer is not None else ""
        said = [AIMessage(text)] if text and is_short else []
        self._repair = [
            *said,
            HumanMessage(advice.format(reason=fault.reason or "it is not what was asked for")),
        ]

    def messages(self, step: Try) -> list[BaseMessage]:
        """What to send; for a repair also the answer that did not do and what is wrong with it."""
        messages = self.question.messages
        return [*messages, *self._repair] if step.repair else messages

    # The best of the rejected ----------------------------------------------------------------------------------------

    def keep_best(self, answer: AIMessage, attempt: Attempt) -> None:
        """Remember an answer that was rejected for its score, if none that was had a better one."""
        best = self._best[1].score if self._best is not None else None
        if attempt.score is not None and (best is None or attempt.score > best):
            self._best = answer, attempt

    def second_best(self, error: LLMError) -> tuple[AIMessage, Receipt]:
        """What is handed on instead of ``error``, if the feature settles for the best of the rejected answers.

        Raises:
            LLMError: ``error``, if it does not, or there is none.
        """
        if self._best is None or self.dispatch.route.feature.on_invalid_output != "best":
            raise error
        answer, attempt = self._best
        return answer, self.dispatch.settled_for(attempt)
