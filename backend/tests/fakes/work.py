"""Whether work stays within processor time, on a machine that does other things as well."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_RUNS = 5


def stays_within(seconds: float, work: Callable[[], object]) -> bool:
    """Whether one of five runs of ``work`` takes less than ``seconds`` of this thread's processor time.

    For bounds that only a fault of another order misses: allow at least ten times what the work takes, and let it be so
    large that it takes ten times the bound where it is done wrongly. The garbage collector rests meanwhile, since its
    pauses grow with what other tests have left.
    """
    return any(_seconds(work) < seconds for _ in range(_RUNS))


def _seconds(work: Callable[[], object]) -> float:
    gc.disable()
    began = time.thread_time()
    try:
        work()
        return time.thread_time() - began
    finally:
        gc.enable()
