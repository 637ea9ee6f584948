"""Basic types of the facade: who pays, how an attempt ended, the kinds of failure."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

KeyPolicy = Literal["house_only", "byok_only", "byok_then_house"]
"""Whose keys may serve a call."""
KeyOwner = Literal["house", "user"]
"""Whose key an attempt uses."""
Per = Literal["feature", "tenant", "user", "owner", "token"]
"""The kind of a budget's counter: whose spending it counts."""
Outcome = Literal["ok", "rejected", "failed", "cancelled"]
"""How an attempt ended. ``rejected``: an answer came and was paid for, but failed its tests."""


class Category(StrEnum):
    """The kinds of failure."""

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
