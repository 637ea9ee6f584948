"""What every store of budgets promises; here of the one in memory."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from backend.tests.contract.budget_store import BudgetStoreContract
from backend.tests.fakes.budgets import charge, reservation, window
from backend.tests.fakes.clock import Clock
from backend.utils.llm.state import budget_store
from backend.utils.llm.state.budget_store import BudgetShortage, MemoryBudgets

if TYPE_CHECKING:
    from backend.utils.llm.state.budget_store import Reservation

CAP = 100


def test_windows_that_are_over_are_forgotten_once_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_store, "MOST_WINDOWS", 3)
    store = MemoryBudgets(Clock())
    windows = [window("users", begins) for begins in ("2026-11-20", "2026-11", "", "2026-11-21")]
    for one in windows:
        store.settle(held := reservation(charge(one, 1)), (0,))
        store.reserve(held)
        store.settle(held, (1,))

    assert set(store.known()) == set(windows[1:])


class TestMemoryBudgets(BudgetStoreContract):
    @pytest.fixture
    def store(self) -> MemoryBudgets:
        return MemoryBudgets(Clock())


class Budgets(RuleBasedStateMachine):
    """Requests come, end, are lost and are settled late, in any order."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.store = MemoryBudgets(self.clock)
        self.spent: collections.Counter[str] = collections.Counter()
        self.under_way: dict[str, tuple[Reservation, float]] = {}

    def reserved(self, subject: str) -> int:
        """What those whose lease holds have set aside of a counter."""
        return sum(
            one.amount
            for held, ends_at in self.under_way.values()
            if ends_at > self.clock.now
            for one in held.charges
            if one.window.subject == subject
        )

    @rule(
        target=held,
        amounts=st.dictionaries(st.sampled_from("abc"), st.integers(0, 60), min_size=1),
        seconds=st.integers(1, 100),
    )
    def reserve(self, amounts: dict[str, int], seconds: int) -> Reservation:
        charges = [charge(window(name), amount, CAP) for name, amount in sorted(amounts.items())]
        asked = reservation(*charges, seconds=seconds)

        outcome = self.store.reserve(asked)

        fits = all(self.spent[name] + self.reserved(name) + amount <= CAP for name, amount in amounts.items())
        assert fits == (not isinstance(outcome, BudgetShortage))
        if fits:
            self.under_way[asked.id] = asked, self.clock.now + seconds
        return asked

    @rule(asked=consumes(held), part=st.floats(0, 1))
    def settle(self, asked: Reservation, part: float) -> None:
        used = [int(one.amount * part) for one in asked.charges]
        self.store.settle(asked, used)
        self.store.settle(asked, used)
        if self.under_way.pop(asked.id, None) is not None:
            for one, amount in zip(asked.charges, used, strict=True):
                self.spent[one.window.subject] += amount

    @rule(seconds=st.integers(0, 150))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @invariant()
    def what_was_spent_is_known(self) -> None:
        known = self.store.known()
        assert {one.subject: said.spent for one, said in known.items() if said.spent} == dict(+self.spent)


Budgets.TestCase.settings = settings(stateful_step_count=30)
TestBudgets = Budgets.TestCase
