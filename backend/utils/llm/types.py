"""Basic types of Patchbay: who pays, how an attempt ended, the kinds of failure."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

KeyPolicy = Literal["house_only", "byok_only", "byok_then_house"]
"""Whose keys may pay for a call: the operator's (``house``), the caller's own (``byok``), or the caller's first."""
KeyOwner = Literal["house", "user"]
"""Who owns the key of an attempt, and so pays for it: the operator (``house``) or the calling user."""
Per = Literal["feature", "tenant", "user", "owner", "token"]
"""The kind of a budget's counter: whose spending it counts."""
Outcome = Literal["ok", "rejected", "failed", "cancelled"]
"""How an attempt ended. ``rejected``: an answer came and was paid for, but failed a test, such as that of its schema."""


class FailureCategory(StrEnum):
    """The kinds of failure of an attempt; `failures.POLICY` has the consequences of each.

    Attributes:
        UNREADABLE: The response is no answer of the API.
        UNEXPLAINED: The provider refused the request without a reason.
        UNWORDED: The API's format cannot express a part of the request, so that it was not sent.
        REJECTED: No provider would accept the request.
        UNKNOWN_REASON: The finish reason is not in our table.
        BUG: An error in this package.
    """

    CONNECT = "connect"
    TIMEOUT = "timeout"
    SERVER = "server"
    EMPTY = "empty"
    UNREADABLE = "unreadable"
    INTERRUPTED = "interrupted"
    RATE_LIMIT = "rate_limit"
    QUOTA = "quota"
    MODEL_QUOTA = "model_quota"
    CREDENTIAL = "credential"
    MODEL_NOT_FOUND = "model_not_found"
    UNEXPLAINED = "unexplained"
    UNSUPPORTED = "unsupported"
    UNWORDED = "unworded"
    CONTEXT = "context"
    REFUSAL = "refusal"
    TRUNCATED = "truncated"
    INVALID_OUTPUT = "invalid_output"
    UNKNOWN_REASON = "unknown_reason"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    BUG = "bug"
