"""The attempt loop of one call as a state machine without I/O: what to try next, how long to wait, when to stop."""

from __future__ import annotations

from .loop import Dispatch
from .steps import LEAST_SECONDS, Consult, Try, Wait

__all__ = ["LEAST_SECONDS", "Consult", "Dispatch", "Try", "Wait"]
