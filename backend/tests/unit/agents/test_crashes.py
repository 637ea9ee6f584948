"""X10: a process that is killed at any step of a run does nothing twice, and loses nothing."""

from __future__ import annotations

import os
import shutil
import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest

from backend.tests.fakes.children import fork, in_child
from backend.tests.fakes.mortal import Images, Left, Place, killed_at, live, live_on

if TYPE_CHECKING:
    from pathlib import Path

SEED = 3
"""Whose run looks, writes down, and deletes. `make approvals` looks at two hundred runs, and kills on other stores, too."""
AT_ONCE = 24
"""Moments from one at which a process is killed to the next, in each of two series."""


@pytest.mark.parametrize("offset", range(2))
def test_nothing_is_done_twice_and_nothing_lost_wherever_the_process_is_killed(
    offset: int, tmp_path: Path, with_tables: Path
) -> None:
    def place(name: str) -> Place:
        return Place(
            str(shutil.copy(with_tables, tmp_path / f"{name}.sqlite3")), tmp_path / f"{name}.effects"
        )

    moments = in_child(partial(live, SEED, place("whole")))
    for moment in range(7 + 12 * offset, moments, AT_ONCE):
        there = place(str(moment))
        child = fork(partial(live, SEED, there, killed_at(moment)))
        os.close(child.told)
        assert os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]) == -signal.SIGKILL

        left = Left(*in_child(partial(live_on, SEED, there)))

        assert (left.twice, left.lost) == (0, 0)
        assert left.states in ([], ["done"])
        assert left.states or not there.lines()


def test_nothing_is_done_twice_and_nothing_lost_from_what_any_moment_would_leave_behind(
    tmp_path: Path, with_tables: Path
) -> None:
    place = Place(str(shutil.copy(with_tables, tmp_path / "run.sqlite3")), tmp_path / "run.effects")
    images = Images(place)
    live(SEED, place, images.take)

    left = [live_on(SEED, image) for image in images.taken[::5]]

    assert {(one.twice, one.lost) for one in left} == {(0, 0)}
    assert {tuple(one.states) for one in left} == {(), ("done",)}
    assert any(one.parked for one in left)
