"""Many threads that do the same at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def hammer(work: Callable[[int], T], threads: int = 8) -> list[T]:
    """Let so many threads do ``work`` at once; what it gave each."""
    gate = threading.Barrier(threads)
    given_back: list[T] = []

    def body(number: int) -> None:
        gate.wait()
        given_back.append(work(number))

    running = [threading.Thread(target=body, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert len(given_back) == threads
    return given_back
