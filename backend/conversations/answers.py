"""Runs the steps of creating a conversation, and stores their results, so that no model call is paid for twice."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from .journal import Journal
    from .outcome import StepOutcome

T = TypeVar("T")


class StepRunner(Protocol):
    """Runs the steps of creating a conversation. Each step calls the model of a feature.

    If an earlier request with the same idempotency key has completed a step, its stored result is reused.
    """

    async def get_or_run_step(
        self,
        feature: str,
        outcome_type: TypeAdapter[StepOutcome[T]],
        run_step: Callable[[], Awaitable[StepOutcome[T]]],
        /,
    ) -> StepOutcome[T]:
        """Return the stored result of the step of ``feature``; if there is none, run the step.

        Args:
            feature: The feature whose model the step calls.
            outcome_type: Parses and serializes the result as JSON.
            run_step: Runs the step, and returns its result.
        """
        ...


class UncachedStepRunner:
    """A `StepRunner` that stores nothing, for a request without an idempotency key."""

    async def get_or_run_step(
        self,
        _feature: str,
        _outcome_type: TypeAdapter[StepOutcome[T]],
        run_step: Callable[[], Awaitable[StepOutcome[T]]],
        /,
    ) -> StepOutcome[T]:
        """Run the step with ``run_step``, and return its result. See `StepRunner.get_or_run_step`."""
        return await run_step()


class JournaledStepRunner:
    """A `StepRunner` that stores the results in a `Journal`.

    If the request is cancelled, a step that has begun continues until its result is stored.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._steps: set[asyncio.Task[object]] = set()
        self._is_over = False

    async def get_or_run_step(
        self,
        feature: str,
        outcome_type: TypeAdapter[StepOutcome[T]],
        run_step: Callable[[], Awaitable[StepOutcome[T]]],
        /,
    ) -> StepOutcome[T]:
        """Return the step's result from the journal; if there is none, run the step, and store its result there.

        A failed result is not stored after `close_in_background`, as the end of the request may have caused it.
        """
        if (known := self._journal.read_answer(feature)) is not None:
            with suppress(ValidationError):  # of another version, which had other steps
                return outcome_type.validate_json(known)
        return await self.run_to_completion(self._asked(feature, outcome_type, run_step))

    async def run_to_completion(self, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work``, and return its result. If the request is cancelled, ``work`` continues in the background."""
        step = asyncio.ensure_future(work)
        self._steps.add(step)
        step.add_done_callback(self._steps.discard)
        return await asyncio.shield(step)

    async def _asked(
        self, feature: str, kind: TypeAdapter[StepOutcome[T]], ask: Callable[[], Awaitable[StepOutcome[T]]]
    ) -> StepOutcome[T]:
        outcome = await ask()
        # A failure belongs to the result, unless it may come of the request's end: that takes its keys away.
        if outcome.error is None or not self._is_over:
            await self._journal.write_answer(feature, kind.dump_json(outcome))
        return outcome

    @property
    def has_running_steps(self) -> bool:
        """Whether any step is still running."""
        return bool(self._steps)

    def close_in_background(self) -> asyncio.Task[None]:
        """Close the journal in the background, after all running steps have ended.

        Returns:
            The background task. Cancelling it cancels the steps, and then closes the journal.
        """
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
