"""What the four drivers share: one call, its attempts, and what becomes of their outcomes."""

from __future__ import annotations

from .attempt import delivered
from .bench import Bench
from .call import Accept, Call, Question
from .race import araced, raced
from .runs import AsyncRuns, Runs, Watch, watched

__all__ = [
    "Accept",
    "AsyncRuns",
    "Bench",
    "Call",
    "Question",
    "Runs",
    "Watch",
    "araced",
    "delivered",
    "raced",
    "watched",
]
