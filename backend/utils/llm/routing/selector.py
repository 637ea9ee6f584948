"""Selectors that an application writes itself: what they are asked before every attempt, and what they may say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..options import Options

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from ..caller import Caller
    from ..receipt import Attempt
    from ..state.health import Unavailable
    from .route import Candidate, Needs


@dataclass(frozen=True)
class Choosing:
    """The question to a custom selector: which of these endpoints shall be asked next?

    Attributes:
        feature: What is called.
        caller: On whose behalf; without their keys.
        needs: What the call needs of an endpoint.
        candidates: Those that may be asked now, in the order in which they would be without a selector. One that has
            failed is among them as long as it may be asked again; then there may be a pause before it is.
        attempts: Every request of this call so far, each with its failure, its start and its duration.
        seconds_left: Of the call's deadline.
        attempts_left: Of the feature's ``max_attempts``.
        resting: Every endpoint of the chain that is better left alone now, by name, and why.
        messages: What is sent.
    """

    feature: str
    caller: Caller
    needs: Needs
    candidates: tuple[Candidate, ...]
    attempts: tuple[Attempt, ...]
    seconds_left: float
    attempts_left: int
    resting: dict[str, Unavailable]
    messages: tuple[BaseMessage, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Use:
    """Ask ``candidate``, with ``options`` over those of the table."""

    candidate: Candidate
    options: Options = field(default_factory=Options)


@dataclass(frozen=True)
class Pause:
    """Let ``seconds`` pass, then ask me again."""

    seconds: float


@dataclass(frozen=True)
class Stop:
    """End the call; ``reason`` is in the error."""

    reason: str


Choice = "Candidate | Use | Pause | Stop"
Selector = Callable[[Choosing], "Candidate | Use | Pause | Stop | Awaitable[Candidate | Use | Pause | Stop]"]
"""Any callable: a function, a coroutine function, a partial, an object that can be called."""


def in_order(choosing: Choosing) -> Candidate:
    """Ordered fallback, as a selector: what the table's ``ordered`` does."""
    return choosing.candidates[0]
