"""What earlier calls taught about the endpoints: breakers, cooldowns, and how many retries are left."""

from __future__ import annotations

from .breaker import Breaker
from .budget import RetryBudget
from .store import Circuit, Health, MemoryHealth, Rest, RestKind

__all__ = ["Breaker", "Circuit", "Health", "MemoryHealth", "Rest", "RestKind", "RetryBudget"]
