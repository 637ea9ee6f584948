"""Charges of requests, for tests of what counts them."""

from __future__ import annotations

import os

from backend.utils.llm.budgets import BudgetCharge, BudgetWindow
from backend.utils.llm.state.budget_store import Reservation


def window(subject: str = "ann", begins: str = "2026-11", budget: str = "users") -> BudgetWindow:
    """A counter of a user."""
    return BudgetWindow(budget, "user", subject, begins)


def charge(of: BudgetWindow, amount: int, ceiling: int = 100) -> BudgetCharge:
    """What sets so much aside of it."""
    return BudgetCharge(of, amount, ceiling)


def reservation(*charges: BudgetCharge, seconds: float = 60.0) -> Reservation:
    """One that is like no other."""
    return Reservation(os.urandom(16).hex(), charges, seconds)
