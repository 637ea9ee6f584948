"""A signal is told and ends nothing; a process that does not heed it is ended all the same."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from backend.signals import HANDLED, SignalHandler
from backend.tests.fakes.children import in_child

ROOT = Path(__file__).parents[3]
SOON = 20.0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_each_signal_is_reported_and_the_first_is_remembered(number: signal.Signals, status: int) -> None:
    told = threading.Semaphore(0)

    with SignalHandler(told.release) as signals:
        before = signals.exit_status
        signal.raise_signal(number)
        assert told.acquire(timeout=SOON)
        signal.raise_signal(signal.SIGINT)
        assert told.acquire(timeout=SOON)

    assert (before, signals.exit_status) == (None, status)


def test_afterwards_signals_are_what_they_were() -> None:
    before = [signal.getsignal(literal) for literal in HANDLED]

    with SignalHandler(lambda: None):
        assert [signal.getsignal(literal) for literal in HANDLED] != before

    assert [signal.getsignal(literal) for literal in HANDLED] == before


def test_in_another_thread_they_are_left_alone() -> None:
    before = [signal.getsignal(literal) for literal in HANDLED]
    within: list[object] = []

    def run() -> None:
        with SignalHandler(lambda: None):
            within.extend(signal.getsignal(literal) for literal in HANDLED)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert within == before


def test_nothing_is_left_that_could_end_the_process_later() -> None:
    with SignalHandler(lambda: None):
        signal.raise_signal(signal.SIGTERM)
        (thread,) = [one for one in threading.enumerate() if one.name == "signals"]

    thread.join(SOON)
    assert not thread.is_alive()


DEAF = """
import signal, threading
from backend import signals
signals.LONGEST_STOP = {longest}
with signals.SignalHandler(lambda: None):
    for _ in range({times}):
        signal.raise_signal(signal.SIGTERM)
    threading.Event().wait(60)
"""


@pytest.mark.parametrize(
    ("longest", "times"), [(0.05, 1), (3600.0, 3)], ids=["the time is over", "the third"]
)
def test_what_heeds_no_signal_is_ended_with_the_status_of_the_first(longest: float, times: int) -> None:
    ended = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", DEAF.format(longest=longest, times=times)], cwd=ROOT, timeout=SOON, check=False
    )

    assert ended.returncode == 143


def test_in_a_forked_child_signals_are_what_they_were() -> None:
    """It has no thread that would follow them, so `terminate()` of a process pool would do nothing."""
    before = [signal.getsignal(literal) for literal in HANDLED]

    with SignalHandler(lambda: None):
        told = in_child(lambda: [signal.getsignal(literal) for literal in HANDLED] == before)

    assert told is True
