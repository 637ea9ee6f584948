"""Sends a second, hedging request when the first takes too long. The first good answer wins.

Both requests run on an event loop: that of an asynchronous call, or the `SharedBackgroundLoop` of synchronous
calls. The call records them in its own thread: it enters and leaves the contexts of both attempts there,
one after the other, so that dispatch, observers and callbacks see one event at a time. Afterwards the
call continues as after any attempt: it returns the good answer, tries another endpoint, or ends.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager

from ..caller import await_without_caller
from .acceptance import run_accept_sync
from .attempt import RunningAttempt
from .awaiting import SyncContextAdapter, run_without_event_loop
from .hedged_dispatch import HedgedDispatch
from .steps import ReserveThenTry
from .tracing import trace_attempt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from types import TracebackType

    from langchain_core.outputs import ChatGenerationChunk, ChatResult

    from .call import Call
    from .loop_thread import BackgroundLoop
    from .steps import Try


class LosingRequestCancelled(BaseException):
    """Marks a request that was cancelled because the other request of its hedged pair was answered first."""


def make_attempt_context(
    call: Call, step: Try, run: Any, *, streams: bool = False
) -> AbstractContextManager[RunningAttempt | HedgedAttempt, bool]:
    """Build the context manager that sends the request ``step`` in a synchronous call.

    It is a `HedgedPair` if a second request may be sent when the first takes too long.

    Args:
        call: The call.
        step: The request to send.
        run: LangChain's run manager of the call, whose child runs are the attempts.
        streams: Whether the request of a hedged pair wins with its first content. If False, it wins with its
            first whole answer that passes its tests.
    """
    attempt = RunningAttempt(call, step)
    after = _hedge_after(call, step)
    if after is None:
        return SyncContextAdapter(trace_attempt(attempt, run, CallbackManager))
    loop = call.runtime.loop_thread.get_loop()
    if loop.runs_in_current_thread:  # it could not wait for itself
        return SyncContextAdapter(trace_attempt(attempt, run, CallbackManager))
    return SyncContextAdapter(HedgedPair(call, attempt, after, run, loop, streams=streams))


def make_async_attempt_context(
    call: Call, step: Try, run: Any, *, streams: bool = False
) -> AbstractAsyncContextManager[RunningAttempt | HedgedAttempt, bool]:
    """Asynchronous version of `make_attempt_context`."""
    attempt = RunningAttempt(call, step)
    after = _hedge_after(call, step)
    if after is None:
        return trace_attempt(attempt, run, AsyncCallbackManager)
    return HedgedPair(call, attempt, after, run, streams=streams)


def _hedge_after(call: Call, step: Try) -> float | None:
    dispatch = call.dispatch
    return dispatch.hedge_delay(step) if isinstance(dispatch, HedgedDispatch) else None


class HedgedPair:
    """Sends a call's first request, and a second one if the first takes too long.

    This asynchronous context manager returns the attempt that decides the call: the first with a good
    answer, or else one that failed, whose failure it then raises. The other attempt has ended by then.

    Args:
        loop: The event loop in another thread that runs the requests of a synchronous call; None for the
            running loop.
    """

    def __init__(
        self,
        call: Call,
        first: RunningAttempt,
        after: float,
        run: Any,
        loop: BackgroundLoop | None = None,
        *,
        streams: bool,
    ) -> None:
        self._call = call
        self._first = first
        self._after = after
        self._run = run
        self._kind = AsyncCallbackManager if loop is None else CallbackManager
        self._loop = loop
        self._work = _begun if streams else RunningAttempt.afetch_answer
        self._running: list[HedgedAttempt] = []
        self._decisive: HedgedAttempt

    async def __aenter__(self) -> HedgedAttempt:
        try:
            async with AsyncExitStack() as stack:
                self._decisive = await self._decided(stack)
                stack.pop_all()
        finally:
            self._loop = None  # an error may hold this, and must not hold the loop
        return self._decisive

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return await self._decisive.__aexit__(kind, error, trace)

    async def _decided(self, stack: AsyncExitStack) -> HedgedAttempt:
        await self._start(self._first, stack)
        if not await self._ended(self._after) and (step := await self._hedge()):
            await self._start(RunningAttempt(self._call, step), stack)
        while not _decides(ended := (await self._ended())[0], self._running):
            self._running.remove(ended)
            await ended.__aexit__(*_of(ended.error))
        for other in self._running:
            if other is not ended:
                await other.cancel_as_loser()
        return ended

    async def _hedge(self) -> Try | None:
        dispatch = self._call.dispatch
        found = dispatch.choose_hedge(self._first.step) if isinstance(dispatch, HedgedDispatch) else None
        if isinstance(found, ReserveThenTry):
            return await self._call.reserver.reserve(found, is_sync=self._loop is not None)
        return found

    async def _start(self, attempt: RunningAttempt, stack: AsyncExitStack) -> None:
        if self._loop is not None and (accept := attempt.accept) is not None:
            attempt.accept = partial(run_accept_sync, accept)
        books = trace_attempt(attempt, self._run, self._kind)
        hedged_attempt = HedgedAttempt(attempt, books, self._work, self._loop)
        self._running.append(await stack.enter_async_context(hedged_attempt))

    async def _ended(self, seconds: float | None = None) -> list[HedgedAttempt]:
        """The requests that have ended within ``seconds``, answered ones first."""
        await _done(self._loop, _first_of([attempt.task for attempt in self._running], seconds))
        return sorted(
            (attempt for attempt in self._running if attempt.task.done()),
            key=lambda attempt: attempt.error is not None,
        )


class HedgedAttempt:
    """One of the two requests of a hedged pair, run as a task on an event loop.

    Args:
        recorder: The context manager that records the attempt. It is entered in the call's own thread.
        work: Returns the coroutine that sends the request.
        loop: The event loop in another thread; None for the running loop.
    """

    _task: asyncio.Task[Any] | None = None
    _is_taken = _is_left = False

    def __init__(
        self,
        attempt: RunningAttempt,
        recorder: AbstractAsyncContextManager[RunningAttempt, bool],
        work: Callable[[RunningAttempt], Coroutine[Any, Any, Any]],
        loop: BackgroundLoop | None,
    ) -> None:
        self.attempt = attempt
        self._books = recorder
        self._work = work
        self._loop = loop

    @property
    def task(self) -> asyncio.Task[Any]:
        """The task that sends the request. It exists once the context is entered."""
        assert self._task is not None  # noqa: S101 - nobody asks before
        return self._task

    @property
    def error(self) -> BaseException | None:
        """The exception with which the request failed; None while it is in flight, or if it was answered."""
        if self._task is None or not self._task.done():
            return None
        return asyncio.CancelledError() if self._task.cancelled() else self._task.exception()

    async def __aenter__(self) -> Self:
        await self._books.__aenter__()
        try:
            await _done(self._loop, self._begin())
        except BaseException as error:
            await self.__aexit__(*_of(error))
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Leave the attempt's context; after an error, first cancel the task unless its result was taken."""
        if self._is_left:
            return False
        try:
            if error is not None and not self._is_taken:
                await _done(self._loop, self._end())
        finally:
            self._is_left, self._loop = True, None  # an error may hold this, and must not hold the loop
            is_handled = await self._books.__aexit__(kind, error, trace)
        return is_handled

    async def cancel_as_loser(self) -> None:
        """Cancel this request because the other one decided the call; if it has failed, record the failure."""
        error = self.error
        self.attempt.is_beaten = error is None
        await self.__aexit__(*_of(error or LosingRequestCancelled()))

    async def _begin(self) -> None:
        self._task = asyncio.create_task(self._work(self.attempt))

    async def _end(self) -> None:
        if self._task is None:
            return
        self.task.cancel()
        await asyncio.wait([self.task])
        if self.error is None and isinstance(self.task.result(), tuple):
            await self.task.result()[1].aclose()

    def _taken(self) -> Any:
        self._is_taken = True
        return self.task.result()

    def generate(self) -> ChatResult:
        """Return the answer with the call's receipt."""
        return self.attempt.complete_call(self._taken())

    async def agenerate(self) -> ChatResult:
        """Asynchronous version of `generate`."""
        return self.attempt.complete_call(self._taken())

    async def astream(self) -> AsyncGenerator[ChatGenerationChunk]:
        """Yield the answer in chunks, from its first content on."""
        first, chunks = self._taken()
        async with aclosing(chunks):
            yield first
            async for chunk in chunks:
                yield chunk

    def stream(self) -> Iterator[ChatGenerationChunk]:
        """Synchronous version of `astream`."""
        first, chunks = self._taken()
        try:
            yield first
            while (chunk := run_without_event_loop(_done(self._loop, _next(chunks)))) is not None:
                yield chunk
        finally:
            run_without_event_loop(_done(self._loop, _closed(chunks)))


# On the event loop of the requests -----------------------------------------------------------------------------------


async def _done(loop: BackgroundLoop | None, work: Coroutine[Any, Any, Any]) -> Any:
    """The result of ``work``, run on ``loop``."""
    return await work if loop is None else loop.run(work)


async def _first_of(tasks: list[asyncio.Task[Any]], seconds: float | None) -> None:
    await await_without_caller(asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED))


async def _begun(
    attempt: RunningAttempt,
) -> tuple[ChatGenerationChunk, AsyncGenerator[ChatGenerationChunk]]:
    """The first chunk, and the following chunks."""
    chunks = attempt.astream()
    return await anext(chunks), chunks


async def _next(chunks: AsyncGenerator[ChatGenerationChunk]) -> ChatGenerationChunk | None:
    return await anext(chunks, None)


async def _closed(chunks: AsyncGenerator[ChatGenerationChunk]) -> None:
    # What was to come next is just being cancelled, because its caller was interrupted.
    while getattr(chunks, "ag_running", False):  # noqa: ASYNC110 - a generator has no event for it
        await asyncio.sleep(0)
    await chunks.aclose()


# Both ----------------------------------------------------------------------------------------------------------------


def _decides(ended: HedgedAttempt, running: list[HedgedAttempt]) -> bool:
    """Whether the ended request decides the call: it has a good answer, is the last, or ends the call in any case."""
    error = ended.error
    return error is None or len(running) == 1 or ended.attempt.is_final_error(error)


def _of(error: BaseException | None) -> tuple[Any, BaseException | None, TracebackType | None]:
    return type(error), error, error.__traceback__ if error else None
