"""What the steps of one conversation came to: asked for once, and kept for whoever comes back."""

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


class Answers(Protocol):
    """Where the outcomes of steps come from."""

    async def once(
        self, feature: str, kind: TypeAdapter[Outcome[T]], ask: Callable[[], Awaitable[Outcome[T]]], /
    ) -> Outcome[T]:
        """What the step came to before, if that is known; else what it comes to when it is asked."""
        ...


class Unkept:
    """`Answers` of a conversation for which nobody could come back."""

    async def once(
        self, _feature: str, _kind: TypeAdapter[Outcome[T]], ask: Callable[[], Awaitable[Outcome[T]]], /
    ) -> Outcome[T]:
        """Ask."""
        return await ask()


class Kept:
    """`Answers` in a journal. A step that is under way goes on when the request that wants it is over: it is being paid for."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._steps: set[asyncio.Task[object]] = set()
        self._is_over = False

    async def once(
        self, feature: str, kind: TypeAdapter[Outcome[T]], ask: Callable[[], Awaitable[Outcome[T]]], /
    ) -> Outcome[T]:
        """As `Answers.once`."""
        if (known := self._journal.answer(feature)) is not None:
            with suppress(ValidationError):  # of another version, which had other steps
                return kind.validate_json(known)
        return await self.to_the_end(self._asked(feature, kind, ask))

    async def to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Do ``work``, which goes on when the request is over."""
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
        """Whether something goes on."""
        return bool(self._steps)

    def close(self) -> asyncio.Task[None]:
        """Close the journal after the steps that are under way, which are given up if that is cancelled."""
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
