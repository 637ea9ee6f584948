"""Runs whose steps cannot be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from backend.agents.in_memory import InMemoryRunStore
from backend.tests.fakes.agents import ANN, World, deletes, end, wants, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.agents.runs import Run
    from backend.agents.steps import Step


class FullRuns(InMemoryRunStore):
    """Takes no step while it is ``full``, and says which time that was."""

    def __init__(self) -> None:
        super().__init__()
        self.full, self.refused = True, 0

    @override
    async def append_steps(self, run: Run, number: int, steps: Sequence[Step], now: int) -> None:
        if self.full:
            self.refused += 1
            raise OSError(f"refused {self.refused}")
        await super().append_steps(run, number, steps, now)


async def test_a_run_whose_steps_cannot_be_kept_is_let_go_of_and_raises_what_came_first() -> None:
    runs = FullRuns()
    app = World([deletes()], runs=runs)

    with pytest.raises(OSError, match="refused 1"):
        await app.say()

    (run,) = await app.runner.list_recent_runs(ANN)
    assert (run.leased_by, run.state, runs.refused) == (None, "running", 2)


async def test_it_can_be_gone_on_with_at_once_when_they_can_be_kept_again() -> None:
    runs = FullRuns()
    app = World([wants(("search", {"words": "tea"})), "Found.", "Found again."], runs=runs)
    with pytest.raises(OSError, match="refused"):
        await app.say()
    (run,) = await app.runner.list_recent_runs(ANN)

    runs.full = False
    events = await whole(app.runner.resume_run(ANN, run.id))

    assert end(events).state == "done"
