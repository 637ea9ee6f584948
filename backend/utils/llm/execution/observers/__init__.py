"""Observers of attempts, one for each concern."""

from .registry import ObserverRegistry, Observers

__all__ = ["ObserverRegistry", "Observers"]
