"""Work beside requests goes on, whatever goes wrong in it, and everybody sees when it does not."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend import background
from backend.background import LONGEST_PAUSE, STUCK, BackgroundTaskRunner, retry_delay_s
from backend.tests.fakes.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

SOON = 1e-6


class Work:
    """Does one after the other of what it is given, then nothing. ``done`` is set with the last."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.steps = list(steps)
        self.tries = 0
        self.done = asyncio.Event()

    async def __call__(self) -> None:
        self.tries += 1
        if not self.steps:
            self.done.set()
            return
        self.steps.pop(0)()


def fails(error: BaseException) -> Callable[[], object]:
    def step() -> None:
        raise error

    return step


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a pause is has a test of its own."""
    monkeypatch.setattr(background, "retry_delay_s", lambda _every, _fails: SOON)


@pytest.mark.parametrize(
    "error", [OSError("disk"), RecursionError(), ValueError("digits"), asyncio.CancelledError()], ids=type
)
async def test_it_goes_on_after_any_fault(error: BaseException) -> None:
    work, running = Work(fails(error)), BackgroundTaskRunner()

    async with running.run_repeatedly("work", work, interval_s=SOON):
        await work.done.wait()
        assert running.failing_tasks == ()

    assert work.tries >= 2


async def test_the_same_fault_is_logged_once_and_another_one_too(caplog: pytest.LogCaptureFixture) -> None:
    same = fails(OSError("no space"))
    work = Work(same, same, same, fails(ValueError()), same)

    async with BackgroundTaskRunner().run_repeatedly("work", work, interval_s=SOON):
        await work.done.wait()

    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [OSError, ValueError]
    assert all("work=work" in record.getMessage() for record in caplog.records)


async def test_a_fault_that_comes_back_after_a_success_is_logged_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    same = fails(OSError("no space"))
    work = Work(same, lambda: None, same)

    async with BackgroundTaskRunner().run_repeatedly("work", work, interval_s=SOON):
        await work.done.wait()

    assert len(caplog.records) == 2


async def test_what_fails_is_named_until_it_works_again() -> None:
    running, seen = BackgroundTaskRunner(), []
    work = Work(fails(OSError()), lambda: seen.append(running.failing_tasks))

    async with running.run_repeatedly("work", work, interval_s=SOON):
        await work.done.wait()
        assert running.failing_tasks == ()

    assert seen == [("work",)]


async def test_what_does_not_end_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, begun = Clock(), asyncio.Event()
    running = BackgroundTaskRunner(clock)

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    async with running.run_repeatedly("work", work, interval_s=SOON):
        await begun.wait()
        before = running.failing_tasks
        clock.now = STUCK + 1
        assert (before, running.failing_tasks) == ((), ("work",))
        monkeypatch.setattr(background, "PATIENCE", SOON)

    assert running.failing_tasks == ()


async def test_work_that_somebody_ended_is_named() -> None:
    running, work = BackgroundTaskRunner(), Work()

    async with running.run_repeatedly("work", work, interval_s=SOON):
        await work.done.wait()
        (task,) = [one for one in asyncio.all_tasks() if one.get_name() == "work"]
        task.cancel()
        await asyncio.wait([task])

        assert running.failing_tasks == ("work",)


async def test_what_is_done_once_is_done_until_it_has_worked() -> None:
    running, work = BackgroundTaskRunner(), Work(fails(OSError()), lambda: None)

    async with running.run_until_success("work", work):
        (task,) = [one for one in asyncio.all_tasks() if one.get_name() == "work"]
        await task
        assert running.failing_tasks == ()

    assert work.tries == 2


async def test_a_try_that_is_under_way_at_the_end_is_not_broken_off() -> None:
    begun, written = asyncio.Event(), []

    async def work() -> None:
        begun.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        written.append(True)

    async with BackgroundTaskRunner().run_repeatedly("work", work, interval_s=SOON):
        await begun.wait()

    assert written


@given(st.floats(0.001, 3600), st.integers(0, 10_000))
def test_pauses_grow_and_have_a_bound(every: float, failed: int) -> None:
    assert (
        every == retry_delay_s(every, 0) <= retry_delay_s(every, failed) <= retry_delay_s(every, failed + 1)
    )
    assert retry_delay_s(every, failed) <= max(every, LONGEST_PAUSE)
