"""The kinds of failure, and the consequences of each.

`ROWS` describes the responses of each kind, for all APIs; `POLICY` has its consequences. A new case is a new row.
"""

from __future__ import annotations

from ..types import FailureCategory
from .backoff import LONGEST_WAIT, backoff_seconds
from .classify import BadAnswer, ClassifiedFailure, ImportsNotReadyError, classify_failure, is_control_flow
from .finish_reasons import FINISH_REASONS, GOOD, interpret_finish_reason, to_chat_finish_reason
from .policy import POLICY, FailurePolicy
from .rows import ROWS, ExampleResponse, FailureRule

__all__ = [
    "FINISH_REASONS",
    "GOOD",
    "LONGEST_WAIT",
    "POLICY",
    "ROWS",
    "BadAnswer",
    "ClassifiedFailure",
    "ExampleResponse",
    "FailureCategory",
    "FailurePolicy",
    "FailureRule",
    "ImportsNotReadyError",
    "backoff_seconds",
    "classify_failure",
    "interpret_finish_reason",
    "is_control_flow",
    "to_chat_finish_reason",
]
