"""State that each process has for itself, after a fork, too.

A fork copies the memory of a process, but only the thread that forked. So in the child, a lock that another thread held is
never released, data that it was changing stays half-changed, and every connection is shared with the parent. Objects that
own such state are `ForkSafe`: a child sets their state up anew before other code runs.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - its own part in a fork, which is registered on import, comes before ours
import os
import socket
import threading
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LONGEST_WAIT = 30.0
"""The most seconds that a fork waits for code in `delay_forks` to end."""


class ForkSafe(ABC):
    """Base class of objects with state that a forked child must make anew, such as locks and connections.

    A subclass makes its locks, and all that they guard, in `_begin`, and nowhere else. The constructor calls
    `_begin`, so `super().__init__()` comes last in a subclass's constructor. In a forked child `_begin` is
    called again, on a copy of the parent's object that another thread may have been changing.
    """

    def __init__(self) -> None:
        self._begin()
        _living[self] = None

    @abstractmethod
    def _begin(self) -> None:
        """Set up the state from nothing, without another process's locks, threads, connections or requests in flight."""


_living: WeakKeyDictionary[ForkSafe, None] = WeakKeyDictionary()
"""In the order in which they were made, and begin again: one may use another, made before it, to begin."""
_inherited: list[dict[str, Any]] = []
"""The parent's state, kept alive so that it is never finalised here, which would write to the parent's connections."""


def _begin_again() -> None:
    for owner in list(_living):
        _inherited.append(vars(owner).copy())
        owner._begin()  # noqa: SLF001 - it is for nobody else to call


def disconnect_inherited_descriptors(descriptors: Iterable[int]) -> None:
    """Disconnect the sockets that a forked child inherited, without sending anything to their peers.

    Each descriptor is replaced by a socket that was never connected, on which every operation fails at once.
    So code that still uses a descriptor never reaches another file. Negative descriptors are skipped.
    """
    still_open = [descriptor for descriptor in descriptors if descriptor >= 0]
    if still_open:
        with suppress(OSError), socket.socket() as dead:
            dead.settimeout(0)
            for descriptor in still_open:
                os.dup2(dead.fileno(), descriptor, inheritable=False)


class _Gate(ForkSafe):
    """A lock that delays forks while something is done that a child could not use half done."""

    @override
    def _begin(self) -> None:
        self._lock = threading.RLock()

    @contextmanager
    def closed(self) -> Iterator[None]:
        with self._lock:
            yield

    def wait(self) -> None:
        self._lock.acquire(timeout=LONGEST_WAIT)

    def leave(self) -> None:
        with suppress(RuntimeError):  # it waited in vain
            self._lock.release()


_gate = _Gate()


@contextmanager
def delay_forks() -> Iterator[None]:
    """Delay forks of this process, by up to `LONGEST_WAIT`, while the block, or the decorated function, runs.

    For imports on first use: a child that is forked during an import would wait for ever for the import
    lock, which no thread of the child holds.
    """
    with _gate.closed():
        yield


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_gate.wait, after_in_parent=_gate.leave, after_in_child=_begin_again)
