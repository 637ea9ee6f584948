"""Custom selectors of an application: the question before every attempt, and the possible answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..options import Options

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from ..caller import Caller
    from ..receipt import Attempt
    from ..state.health import UnavailableReason
    from .route import Candidate, Needs


@dataclass(frozen=True)
class Choosing:
    """The state of one call, from which a custom selector chooses the candidate to try next.

    Attributes:
        feature: The name of the feature.
        caller: The caller, without their keys.
        needs: The needs of the call.
        candidates: The candidates that may be tried now, in the order in which they would be tried without a
            selector. A candidate that has failed is included while it may be retried, though its retry may
            have to wait first.
        attempts: Every request of this call so far, each with its failure, its start and its duration.
        seconds_left: Seconds left of the call's deadline.
        attempts_left: Requests left of the feature's ``max_attempts``.
        resting: Every endpoint of the chain that is not available now, by name, and why.
        messages: The messages that are sent.
    """

    feature: str
    caller: Caller
    needs: Needs
    candidates: tuple[Candidate, ...]
    attempts: tuple[Attempt, ...]
    seconds_left: float
    attempts_left: int
    resting: dict[str, UnavailableReason]
    messages: tuple[BaseMessage, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Use:
    """A selector's answer: send the next request to ``candidate``, with ``options`` that override the table's."""

    candidate: Candidate
    options: Options = field(default_factory=Options)


@dataclass(frozen=True)
class Pause:
    """A selector's answer: wait ``seconds``, then ask the selector again."""

    seconds: float


@dataclass(frozen=True)
class Stop:
    """A selector's answer: end the call with a `SelectionStoppedError` that states ``reason``."""

    reason: str


Choice = "Candidate | Use | Pause | Stop"
Selector = Callable[[Choosing], "Candidate | Use | Pause | Stop | Awaitable[Candidate | Use | Pause | Stop]"]
"""Any callable: a function, a coroutine function, a partial, an object that can be called."""


def in_order(choosing: Choosing) -> Candidate:
    """A selector that tries candidates in the order of the table, like the strategy ``ordered``."""
    return choosing.candidates[0]
