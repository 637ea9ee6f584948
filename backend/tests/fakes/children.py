"""Children that are forked in a test."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import traceback
import warnings
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS = 50
"""A child that takes longer hangs, and is killed."""
_KILLED = {signal.SIGALRM, signal.SIGKILL}


class Child(NamedTuple):
    """A forked child, where it writes, and the seconds that it has."""

    pid: int
    told: int
    seconds: int = SECONDS

    def result(self) -> Any:
        """What its work gave, once it has ended."""
        # Its own alarm is set once what runs at a fork is over: that may hang, too.
        if not select.select([self.told], [], [], 2 * self.seconds)[0]:
            os.kill(self.pid, signal.SIGKILL)
        with closing(os.fdopen(self.told)) as pipe:
            said = pipe.read()
        status = os.waitpid(self.pid, 0)[1]
        assert status == 0, "it hung" if status in _KILLED else f"it ended with {status}: {said}"
        return json.loads(said)


@contextmanager
def forking() -> Iterator[None]:
    """From Python 3.12 on a process with threads is warned when it forks. That is what is tested."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
        yield


def fork(work: Callable[[], Any], seconds: int = SECONDS) -> Child:
    """A child that does ``work`` and nothing else, within so many seconds."""
    here, there = os.pipe()
    with forking():
        pid = os.fork()
    if pid == 0:
        _live(work, there, seconds)
    os.close(there)
    return Child(pid, here, seconds)


def in_child(work: Callable[[], Any]) -> Any:
    """What ``work``, which is done in a forked child, gives, as JSON."""
    return fork(work).result()


def _live(work: Callable[[], Any], there: int, seconds: int) -> None:
    status = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)
        os.write(there, json.dumps(work()).encode())
        status = 0
    except BaseException:  # noqa: BLE001 - nothing of the child may go on in the test
        os.write(there, traceback.format_exc().encode())
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(status)
