"""Two requests of one call: a second one goes out when the first takes too long, and the first good answer counts.

The work of each is done beside the call, in a thread or a task. Its books are kept by the call itself: here an attempt's
context is entered and left, one after the other. What decides the race, a good answer or the last failure, is left to
the call, as that of any attempt: it hands the answer on, goes on, or ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from contextlib import AsyncExitStack, ExitStack, aclosing, closing, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from ..caller import without_caller

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from types import TracebackType

    from langchain_core.outputs import ChatGenerationChunk, ChatResult

    from .attempt import RunningAttempt
    from .call import Call
    from .tracing import AsyncRuns, Runs


THREAD = "patchbay hedge"
"""What the threads of synchronous races are called."""


class Cancelled(BaseException):
    """Another request's answer counts."""


def raced(
    call: Call, attempt: RunningAttempt, runs: Runs, *, streams: bool = False
) -> AbstractContextManager[RunningAttempt | Racer, bool]:
    """``attempt`` as a context, or what decides its race with another one, if one may go out beside it."""
    after = call.hedge_after(attempt)
    return runs.of(attempt) if after is None else _Race(call, attempt, runs, after, streams=streams)


def araced(
    call: Call, attempt: RunningAttempt, runs: AsyncRuns, *, streams: bool = False
) -> AbstractAsyncContextManager[RunningAttempt | AsyncRacer, bool]:
    """As `raced`."""
    after = call.hedge_after(attempt)
    return runs.of(attempt) if after is None else _AsyncRace(call, attempt, runs, after, streams=streams)


# In threads ----------------------------------------------------------------------------------------------------------


class Racer:
    """One request, made in a thread of its own. Its answer, or its failure, is handed on by whoever has the call.

    Args:
        attempt: Which.
        books: Its context.
        work: What is done in the thread.
        ended: Is told when that is done.

    Attributes:
        error: What it failed with, once it has.
    """

    def __init__(
        self,
        attempt: RunningAttempt,
        books: AbstractContextManager[RunningAttempt, bool],
        work: Callable[[RunningAttempt], Any],
        ended: SimpleQueue[Racer],
    ) -> None:
        self.attempt = attempt
        self.error: BaseException | None = None
        self._books = books
        self._work = work
        self._ended = ended
        self._answer: Any = None
        self._is_left = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._books.__enter__()
        self.attempt.is_raced = True
        context = contextvars.copy_context()
        try:
            threading.Thread(target=context.run, args=(self._run,), name=THREAD, daemon=True).start()
        except BaseException as error:
            self.__exit__(*_of(error))
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Nobody waits for the thread: its socket is shut, and what it still brings is put away."""
        if self._is_left:
            return False
        with self._lock:
            self._is_left = True
            answer, self._answer = self._answer, None
        if error is not None:
            self.attempt.give_up()
            _put_away(answer)
        return bool(self._books.__exit__(kind, error, trace))

    def lose(self) -> None:
        """It is given up for another one's answer, unless it has failed by itself."""
        error = self.error
        self.attempt.is_beaten = error is None
        self.__exit__(*_of(error or Cancelled()))

    def _run(self) -> None:
        answer, error = None, None
        try:
            answer = self._work(self.attempt)
        except BaseException as caught:  # noqa: BLE001 - it is raised where the call is
            error = caught
        with self._lock:
            self._answer, self.error = answer, error
            is_left = self._is_left
        if is_left:
            _put_away(answer)
            self.attempt.put_away()
        self._ended.put(self)

    def _taken(self) -> Any:
        if self.error is not None:
            raise self.error
        answer, self._answer = self._answer, None
        return answer

    def generate(self) -> ChatResult:
        """The answer with its receipt."""
        return self.attempt.deliver(self._taken())

    def stream(self) -> Iterator[ChatGenerationChunk]:
        """The answer in chunks, from the first one on."""
        first, chunks = self._taken()
        with closing(chunks):
            yield first
            yield from chunks


class _Race:
    """The race of one call. As a context it is that of what decides it; all else is over by then."""

    def __init__(self, call: Call, first: RunningAttempt, runs: Runs, after: float, *, streams: bool) -> None:
        self._call = call
        self._first = first
        self._runs = runs
        self._after = after
        self._work = _begun if streams else type(first).answer
        self._running: list[Racer] = []
        self._ended: SimpleQueue[Racer] = SimpleQueue()
        self._decisive: Racer

    def __enter__(self) -> Racer:
        with ExitStack() as stack:
            self._decisive = self._decided(stack)
            stack.pop_all()
        return self._decisive

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return self._decisive.__exit__(kind, error, trace)

    def _decided(self, stack: ExitStack) -> Racer:
        self._start(self._first, stack)
        try:
            ended = self._ended.get(timeout=self._after)
        except Empty:
            if (hedge := self._call.hedge(self._first)) is not None:
                self._start(hedge, stack)
            ended = self._ended.get()
        while not _decides(ended, self._running):
            self._running.remove(ended)
            ended.__exit__(*_of(ended.error))
            ended = self._ended.get()
        for other in self._running:
            if other is not ended:
                other.lose()
        return ended

    def _start(self, attempt: RunningAttempt, stack: ExitStack) -> None:
        racer = Racer(attempt, self._runs.of(attempt), self._work, self._ended)
        self._running.append(stack.enter_context(racer))


def _begun(attempt: RunningAttempt) -> tuple[ChatGenerationChunk, Iterator[ChatGenerationChunk]]:
    """The first chunk, and those that follow."""
    chunks = attempt.stream()
    return next(chunks), chunks


def _put_away(answer: Any) -> None:
    """What is not wanted any more: of a stream its connection is closed."""
    if isinstance(answer, tuple):
        with suppress(Exception):
            answer[1].close()


# In tasks ------------------------------------------------------------------------------------------------------------


class AsyncRacer:
    """As `Racer`, in a task of its own."""

    def __init__(
        self,
        attempt: RunningAttempt,
        books: AbstractAsyncContextManager[RunningAttempt, bool],
        work: Callable[[RunningAttempt], Coroutine[Any, Any, Any]],
    ) -> None:
        self.attempt = attempt
        self._books = books
        self._work = work
        self._is_taken = self._is_left = False
        self.task: asyncio.Task[Any]

    @property
    def error(self) -> BaseException | None:
        """What it failed with, if it has."""
        if not self.task.done():
            return None
        return asyncio.CancelledError() if self.task.cancelled() else self.task.exception()

    async def __aenter__(self) -> Self:
        await self._books.__aenter__()
        self.task = asyncio.create_task(self._work(self.attempt))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Nothing is left behind."""
        if self._is_left:
            return False
        if error is not None and not self._is_taken:
            await self._end()
        self._is_left = True
        return bool(await self._books.__aexit__(kind, error, trace))

    async def lose(self) -> None:
        """It is given up for another one's answer, unless it has failed by itself."""
        error = self.error
        self.attempt.is_beaten = error is None
        await self.__aexit__(*_of(error or Cancelled()))

    async def _end(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        if self.error is None and isinstance(self.task.result(), tuple):
            await self.task.result()[1].aclose()

    def _taken(self) -> Any:
        self._is_taken = True
        return self.task.result()

    async def agenerate(self) -> ChatResult:
        """The answer with its receipt."""
        return self.attempt.deliver(self._taken())

    async def astream(self) -> AsyncGenerator[ChatGenerationChunk]:
        """The answer in chunks, from the first one on."""
        first, chunks = self._taken()
        async with aclosing(chunks):
            yield first
            async for chunk in chunks:
                yield chunk


class _AsyncRace:
    """As `_Race`."""

    def __init__(
        self, call: Call, first: RunningAttempt, runs: AsyncRuns, after: float, *, streams: bool
    ) -> None:
        self._call = call
        self._first = first
        self._runs = runs
        self._after = after
        self._work = _abegun if streams else type(first).aanswer
        self._running: list[AsyncRacer] = []
        self._decisive: AsyncRacer

    async def __aenter__(self) -> AsyncRacer:
        async with AsyncExitStack() as stack:
            self._decisive = await self._decided(stack)
            stack.pop_all()
        return self._decisive

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return await self._decisive.__aexit__(kind, error, trace)

    async def _decided(self, stack: AsyncExitStack) -> AsyncRacer:
        await self._start(self._first, stack)
        if not await self._ends(self._after) and (hedge := self._call.hedge(self._first)) is not None:
            await self._start(hedge, stack)
        while True:
            ended = (await self._ends())[0]
            if _decides(ended, self._running):
                break
            self._running.remove(ended)
            await ended.__aexit__(*_of(ended.error))
        for other in self._running:
            if other is not ended:
                await other.lose()
        return ended

    async def _start(self, attempt: RunningAttempt, stack: AsyncExitStack) -> None:
        racer = AsyncRacer(attempt, self._runs.of(attempt), self._work)
        self._running.append(await stack.enter_async_context(racer))

    async def _ends(self, seconds: float | None = None) -> list[AsyncRacer]:
        """Those that have ended within ``seconds``, answers first."""
        tasks = [one.task for one in self._running]
        waiting = asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        await without_caller(waiting)
        return sorted(
            (one for one in self._running if one.task.done()), key=lambda one: one.error is not None
        )


async def _abegun(
    attempt: RunningAttempt,
) -> tuple[ChatGenerationChunk, AsyncGenerator[ChatGenerationChunk]]:
    chunks = attempt.astream()
    return await anext(chunks), chunks


# Both ----------------------------------------------------------------------------------------------------------------


def _decides(ended: Racer | AsyncRacer, running: list[Any]) -> bool:
    """Whether no other one can do better than what has ended: it is good, the last, or ends the call whatever others say."""
    error = ended.error
    return error is None or len(running) == 1 or ended.attempt.ends_call(error)


def _of(error: BaseException | None) -> tuple[Any, BaseException | None, TracebackType | None]:
    return type(error), error, error.__traceback__ if error else None
