"""The outcomes of a conversation's steps: each model is asked once, and its answer is kept for a repeated request."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from .journal import Journal
    from .outcome import Outcome

T = TypeVar("T")


class StepAnswers(Protocol):
    """Returns a step's outcome, from an earlier request or by asking."""

    async def once(
        self, feature: str, kind: TypeAdapter[Outcome[T]], ask: Callable[[], Awaitable[Outcome[T]]], /
    ) -> Outcome[T]:
        """The kept outcome of the step; if there is none, the outcome of ``ask``."""
        ...


class FreshAnswers:
    """`StepAnswers` that keeps nothing, for a request that cannot be repeated."""

    async def once(
        self, _feature: str, _kind: TypeAdapter[Outcome[T]], ask: Callable[[], Awaitable[Outcome[T]]], /
    ) -> Outcome[T]:
        """The outcome of ``ask``."""
        return await ask()


class JournaledAnswers:
    """`StepAnswers` kept in a journal. A paid step continues when its request is cancelled."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._steps: set[asyncio.Task[object]] = set()
        self._is_over = False

    async def once(
        self, feature: str, kind: TypeAdapter[Outcome[T]], ask: Callable[[], Awaitable[Outcome[T]]], /
    ) -> Outcome[T]:
        """The outcome in the journal, or that of ``ask``, which is then written to the journal. See `StepAnswers.once`."""
        if (known := self._journal.answer(feature)) is not None:
            with suppress(ValidationError):  # of another version, which had other steps
                return kind.validate_json(known)
        return await self.to_the_end(self._asked(feature, kind, ask))

    async def to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work``, which continues if the request is cancelled."""
        step = asyncio.ensure_future(work)
        self._steps.add(step)
        step.add_done_callback(self._steps.discard)
        return await asyncio.shield(step)

    async def _asked(
        self, feature: str, kind: TypeAdapter[Outcome[T]], ask: Callable[[], Awaitable[Outcome[T]]]
    ) -> Outcome[T]:
        outcome = await ask()
        # A failure belongs to the result, unless it may come of the request's end: that takes its keys away.
        if outcome.error is None or not self._is_over:
            await self._journal.keep(feature, kind.dump_json(outcome))
        return outcome

    @property
    def are_under_way(self) -> bool:
        """Whether a step is still running."""
        return bool(self._steps)

    def close(self) -> asyncio.Task[None]:
        """Close the journal after the running steps, which are cancelled if the returned task is."""
        self._is_over = True
        return asyncio.ensure_future(self._closed())

    async def _closed(self) -> None:
        try:
            if self._steps:
                await asyncio.wait(self._steps)
        finally:
            for step in self._steps:
                step.cancel()
            await self._journal.close()
