"""Stores the result of each step of a conversation, so that a repeated request does not pay for a model call again."""

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
    """Returns the result of a step: the stored one of an earlier request, or a new one."""

    async def once(
        self, feature: str, kind: TypeAdapter[Outcome[T]], ask: Callable[[], Awaitable[Outcome[T]]], /
    ) -> Outcome[T]:
        """Return the stored outcome of the step of ``feature``; if there is none, call ``ask`` and return its outcome."""
        ...


class FreshAnswers:
    """`StepAnswers` that stores nothing, for a request without an idempotency key."""

    async def once(
        self, _feature: str, _kind: TypeAdapter[Outcome[T]], ask: Callable[[], Awaitable[Outcome[T]]], /
    ) -> Outcome[T]:
        """Call ``ask`` and return its outcome."""
        return await ask()


class JournaledAnswers:
    """`StepAnswers` stored in a `Journal`. A step that has begun continues when its request is cancelled."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._steps: set[asyncio.Task[object]] = set()
        self._is_over = False

    async def once(
        self, feature: str, kind: TypeAdapter[Outcome[T]], ask: Callable[[], Awaitable[Outcome[T]]], /
    ) -> Outcome[T]:
        """Return the outcome in the journal; if there is none, call ``ask`` and write its outcome to the journal.

        A failure is not written once the journal is closing, because the end of the request may have caused it.
        """
        if (known := self._journal.answer(feature)) is not None:
            with suppress(ValidationError):  # of another version, which had other steps
                return kind.validate_json(known)
        return await self.to_the_end(self._asked(feature, kind, ask))

    async def to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work``. If the request is cancelled, ``work`` continues in the background."""
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
        """Close the journal once the running steps have ended. Cancelling the returned task cancels the steps."""
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
