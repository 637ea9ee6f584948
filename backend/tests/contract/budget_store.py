"""What every store of budgets promises. A class of tests for each store derives from this one, and has a ``store``."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from backend.tests.fakes.budgets import charge, reservation, window
from backend.utils.llm.budgets import BudgetCounter
from backend.utils.llm.state.budget_store import BudgetShortage

if TYPE_CHECKING:
    from backend.utils.llm.budgets import BudgetWindow
    from backend.utils.llm.state.budget_store import BudgetStore

AFTERWARDS = -1.0
"""Of a lease that has run out as it is given."""


def counter(store: BudgetStore, of: BudgetWindow) -> BudgetCounter:
    return store.counters([of])[of]


class BudgetStoreContract:
    """The promises."""

    PARALLEL = 1_000

    def test_what_is_set_aside_is_no_longer_there(self, store: BudgetStore) -> None:
        ann = window()

        assert store.reserve(reservation(charge(ann, 60))) == (BudgetCounter(reserved=60),)
        assert store.reserve(reservation(late := charge(ann, 41))) == BudgetShortage(
            late, BudgetCounter(reserved=60)
        )
        assert store.reserve(reservation(charge(ann, 40))) == (BudgetCounter(reserved=100),)

    def test_what_was_used_is_counted_and_the_rest_is_there_again(self, store: BudgetStore) -> None:
        ann = window()
        store.reserve(held := reservation(charge(ann, 60)))

        store.settle(held, [7])

        assert counter(store, ann) == BudgetCounter(spent=7)
        assert store.reserve(reservation(charge(ann, 93))) == (BudgetCounter(spent=7, reserved=93),)

    def test_more_than_was_set_aside_is_counted_too(self, store: BudgetStore) -> None:
        ann = window()
        store.reserve(held := reservation(charge(ann, 60)))

        store.settle(held, [160])

        assert counter(store, ann) == BudgetCounter(spent=160)

    def test_who_is_settled_twice_is_counted_once(self, store: BudgetStore) -> None:
        ann = window()
        store.reserve(held := reservation(charge(ann, 60)))
        for _ in range(3):
            store.settle(held, [7])
            assert counter(store, ann) == BudgetCounter(spent=7)

    def test_who_never_had_anything_set_aside_settles_nothing(self, store: BudgetStore) -> None:
        ann = window()
        store.reserve(reservation(charge(ann, 60)))

        store.settle(reservation(charge(ann, 60)), [7])

        assert counter(store, ann) == BudgetCounter(reserved=60)

    def test_a_request_sets_aside_all_or_nothing(self, store: BudgetStore) -> None:
        ann, acme = window(), window("acme", budget="tenants")._replace(per="tenant")

        found = store.reserve(reservation(charge(acme, 10), full := charge(ann, 101)))

        assert found == BudgetShortage(full, BudgetCounter())
        assert store.counters([acme]).get(acme, BudgetCounter()) == BudgetCounter()

    def test_windows_are_counted_apart(self, store: BudgetStore) -> None:
        windows = [
            window(),
            window("bob"),
            window(begins="2026-12"),
            window(begins=""),
            window(budget="others"),
            window()._replace(per="tenant"),
        ]
        for number, one in enumerate(windows):
            store.settle(held := reservation(charge(one, 10)), [0])
            store.reserve(held)
            store.settle(held, [number])

        assert [found.spent for found in store.counters(windows).values()] == list(range(6))
        assert store.known() == store.counters(windows)

    @pytest.mark.parametrize(
        "subject", ["", "A", "a", "ä", "日本", "a" * 10_000, "a\0b", "a\ud800", "x' OR 1=1 --"]
    )
    def test_whatever_a_user_is_called_they_have_a_counter(self, store: BudgetStore, subject: str) -> None:
        odd = window(subject)
        store.reserve(held := reservation(charge(odd, 10)))
        store.settle(held, [5])

        assert counter(store, odd) == BudgetCounter(spent=5)
        assert store.reserve(reservation(full := charge(odd, 96))) == BudgetShortage(
            full, BudgetCounter(spent=5)
        )

    def test_two_long_names_are_not_one(self, store: BudgetStore) -> None:
        store.reserve(reservation(charge(window("a" * 1_000 + "b"), 10)))

        assert not store.counters([window("a" * 1_000 + "c")])

    def test_what_a_process_that_died_has_set_aside_is_there_again(self, store: BudgetStore) -> None:
        ann = window()
        store.reserve(reservation(charge(ann, 100), seconds=AFTERWARDS))

        assert store.reserve(reservation(charge(ann, 100))) == (BudgetCounter(reserved=100),)

    def test_a_lease_that_holds_is_nobody_elses(self, store: BudgetStore) -> None:
        ann = window()
        store.reserve(reservation(charge(ann, 100), seconds=3600))

        assert isinstance(store.reserve(reservation(charge(ann, 1))), BudgetShortage)

    def test_who_is_settled_after_their_lease_is_counted_all_the_same_once(self, store: BudgetStore) -> None:
        ann = window()
        store.reserve(late := reservation(charge(ann, 100), seconds=AFTERWARDS))
        store.reserve(reservation(charge(ann, 50)))
        for _ in range(2):
            store.settle(late, [30])

        assert counter(store, ann) == BudgetCounter(spent=30, reserved=50)

    def test_a_budget_that_was_raised_holds_more(self, store: BudgetStore) -> None:
        ann = window()

        assert store.raise_by(ann, 50) == BudgetCounter(raised=50)
        assert store.reserve(reservation(charge(ann, 150))) == (BudgetCounter(reserved=150, raised=50),)

    def test_who_begins_anew_keeps_what_is_under_way(self, store: BudgetStore) -> None:
        ann = window()
        store.reserve(first := reservation(charge(ann, 60)))
        store.settle(first, [60])
        store.reserve(under_way := reservation(charge(ann, 40)))

        assert store.reset(ann) == BudgetCounter(reserved=40)
        store.settle(under_way, [9])
        assert counter(store, ann) == BudgetCounter(spent=9)
        assert store.reset(window("nobody")) == BudgetCounter()

    def test_many_at_once_get_all_there_is_and_no_more(self, store: BudgetStore) -> None:
        """A thousand requests of one unit at a budget of 1,001, and then some more."""
        ann, count = window(), self.PARALLEL
        ready = threading.Barrier(8)

        def ask(number: int) -> bool:
            if number < ready.parties:
                ready.wait()
            found = store.reserve(held := reservation(charge(ann, 1, count + 1)))
            if isinstance(found, BudgetShortage):
                return False
            store.settle(held, [1])
            return True

        with ThreadPoolExecutor(ready.parties) as pool:
            first = list(pool.map(ask, range(count)))
            second = list(pool.map(ask, range(20)))

        assert all(first)
        assert sum(second) == 1
        assert counter(store, ann) == BudgetCounter(spent=count + 1)

    def test_requests_that_set_aside_of_several_never_wait_for_each_other(self, store: BudgetStore) -> None:
        windows = sorted((window(name) for name in "abcd"), key=lambda one: one.lock_order_key)

        def ask(number: int) -> bool:
            some = [one for place, one in enumerate(windows) if number >> place & 1]
            charges = [charge(one, 1, 10_000) for one in some]
            found = store.reserve(held := reservation(*charges))
            store.settle(held, [1] * len(charges))
            return not isinstance(found, BudgetShortage)

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(ask, [1 + number % 15 for number in range(300)]))
        assert {one.spent for one in store.counters(windows).values()} == {160}
