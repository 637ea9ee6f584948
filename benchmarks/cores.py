"""Clients on the first core, the provider on the last, where the machine has two and lets us say so."""

from __future__ import annotations

import os


def first_and_last() -> tuple[int, int]:
    """The cores of clients and provider; -1 for wherever the machine likes."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    return (cores[0], cores[-1]) if len(cores) > 1 else (-1, -1)


def stay_on(core: int) -> None:
    """Keep this process on ``core``."""
    if core >= 0:
        os.sched_setaffinity(0, {core})
