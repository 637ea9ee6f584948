"""Observers of attempts. Each updates one kind of state: health, rate limits, budgets, the ledger."""

from .registry import ObserverList, ObserverRegistry

__all__ = ["ObserverList", "ObserverRegistry"]
