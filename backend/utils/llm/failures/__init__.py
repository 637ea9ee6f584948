"""The kinds of failure, and the consequences of each.

`ROWS` describes the responses of each kind, for all APIs; `POLICY` has its consequences. A new case is a new row.
"""

from __future__ import annotations

from ..types import Category
from .backoff import LONGEST_WAIT, backoff
from .classify import BadAnswer, Failure, NotReadyError, classify, is_control_flow
from .finish_reasons import FINISH_REASONS, GOOD, ending, named
from .policy import POLICY, Policy
from .rows import ROWS, Example, FailureRow

__all__ = [
    "FINISH_REASONS",
    "GOOD",
    "LONGEST_WAIT",
    "POLICY",
    "ROWS",
    "BadAnswer",
    "Category",
    "Example",
    "Failure",
    "FailureRow",
    "NotReadyError",
    "Policy",
    "backoff",
    "classify",
    "ending",
    "is_control_flow",
    "named",
]
