"""X10: a process that is killed at any step of a run does nothing twice, and loses nothing."""

from __future__ import annotations

import os
import shutil
import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest

from backend.tests.fakes.children import fork, in_child
from backend.tests.fakes.mortal import Left, Place, live, live_on

if TYPE_CHECKING:
    from pathlib import Path

SEED = 3
"""Whose run looks, writes down, and deletes."""
AT_ONCE = 12
"""Moments from one that is tried to the next, in each of two series. `make approvals` tries all of them, of two hundred runs."""


@pytest.mark.parametrize("offset", range(2))
def test_nothing_is_done_twice_and_nothing_lost_wherever_the_process_is_killed(
    offset: int, tmp_path: Path, with_tables: Path
) -> None:
    def place(name: str) -> Place:
        return Place(
            str(shutil.copy(with_tables, tmp_path / f"{name}.sqlite3")), tmp_path / f"{name}.effects"
        )

    moments = in_child(partial(live, SEED, place("whole")))
    for moment in range(5 * offset, moments, AT_ONCE):
        there = place(str(moment))
        child = fork(partial(live, SEED, there, moment))
        os.close(child.told)
        assert os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]) == -signal.SIGKILL

        left = Left(*in_child(partial(live_on, SEED, there)))

        assert (left.twice, left.lost) == (0, 0)
        assert left.states in ([], ["done"])
        assert left.states or not there.lines()
