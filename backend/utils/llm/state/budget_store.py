"""The store that budgets are counted in: its protocol, and an implementation in memory.

A request reserves the most that it could use in all of its counters, or in none. When it ends, the used amounts are
counted and the rest is released. The reservation of a process that died is released when its lease expires.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from typing_extensions import override

from ..budgets import NOTHING, BudgetCharge, BudgetCounter, BudgetWindow
from ..forks import ForkSafe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

MOST_WINDOWS = 100_000
"""Windows kept in one process; beyond that, past days and months are forgotten."""


LATE_SECONDS = 86_400.0
"""Seconds after the end of its lease in which a reservation may still be settled."""


class BudgetStoreUnreachableError(Exception):
    """The budget store cannot be reached. Each budget's ``when_away`` setting decides whether calls continue."""


class Reservation(NamedTuple):
    """The amounts that one request reserves in several counters.

    Attributes:
        id: An id that no other reservation has, in any process.
        charges: The amounts, in the order of `BudgetWindow.lock_order_key`.
        seconds: The lease: seconds until an unsettled reservation is released.
    """

    id: str
    charges: tuple[BudgetCharge, ...]
    seconds: float


class BudgetShortage(NamedTuple):
    """Why nothing was reserved: the first charge that did not fit, and the counter of its budget."""

    charge: BudgetCharge
    counter: BudgetCounter


class BudgetStore(Protocol):
    """Stores what budgets have spent and reserved; processes may share a store. All methods are thread-safe."""

    @property
    def waits(self) -> bool:
        """Whether the methods block on a disk or a network, so that they must not be called on an event loop."""
        ...

    def reserve(self, reservation: Reservation) -> tuple[BudgetCounter, ...] | BudgetShortage:
        """Reserve all charges of ``reservation``, or none of them.

        Returns:
            The counters after the reservation, one for each charge; or the charge that did not fit.

        Raises:
            BudgetStoreUnreachableError: The store cannot be reached.
        """
        ...

    def settle(self, reservation: Reservation, used: Sequence[int]) -> None:
        """Release ``reservation``, and add ``used``, one amount for each of its charges, to what was spent.

        Only the first call for a reservation counts. Never blocks and never raises: while the store is
        unreachable, the amounts are kept in memory and counted later.
        """
        ...

    def counters(self, windows: Iterable[BudgetWindow]) -> Mapping[BudgetWindow, BudgetCounter]:
        """Read the counters of ``windows``. A window in which nothing was ever counted is left out.

        Raises:
            BudgetStoreUnreachableError: The store cannot be reached.
        """
        ...

    def known(self) -> Mapping[BudgetWindow, BudgetCounter]:
        """Read all counters in the store, by window. A store may have dropped the windows of past days and months.

        Raises:
            BudgetStoreUnreachableError: The store cannot be reached.
        """
        ...

    def raise_by(self, window: BudgetWindow, amount: int) -> BudgetCounter:
        """Raise the limit of ``window`` by ``amount``, and return its counter; a negative amount lowers the limit.

        The unit is the budget's: pico-dollars or tokens.

        Raises:
            BudgetStoreUnreachableError: The store cannot be reached.
        """
        ...

    def reset(self, window: BudgetWindow) -> BudgetCounter:
        """Set the amount spent in ``window`` to 0, and return its counter.

        The reservations of requests in flight stay. Their amounts are counted when the requests end.

        Raises:
            BudgetStoreUnreachableError: The store cannot be reached.
        """
        ...


@dataclass(slots=True)
class _Held:
    """The reservation of one request.

    Attributes:
        amounts: The amount of each charge; empty once the reservation is lost.
        ends_at: When the lease expires; of a lost reservation, when no settlement is expected any more.
    """

    charges: tuple[BudgetCharge, ...]
    amounts: tuple[int, ...]
    ends_at: float
    is_lost: bool = False


class MemoryBudgets(ForkSafe):
    """A `BudgetStore` in the memory of one process.

    Args:
        clock: The monotonic clock, in seconds.
    """

    waits = False

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        super().__init__()

    @override
    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._counters: dict[BudgetWindow, BudgetCounter] = {}
        self._most = MOST_WINDOWS
        self._held: dict[str, _Held] = {}

    def reserve(self, reservation: Reservation) -> tuple[BudgetCounter, ...] | BudgetShortage:
        """Reserve all charges of ``reservation``, or none of them. See `BudgetStore.reserve`."""
        charges = reservation.charges
        with self._lock:
            shortage = self._shortage(charges)
            if shortage is not None and self._sweep():
                shortage = self._shortage(charges)
            if shortage is not None:
                return shortage
            amounts = tuple(charge.amount for charge in charges)
            self._held[reservation.id] = _Held(charges, amounts, self._clock() + reservation.seconds)
            return tuple(self._change(charge.window, reserved=charge.amount) for charge in charges)

    def settle(self, reservation: Reservation, used: Sequence[int]) -> None:
        """Release ``reservation``, and count the amounts ``used`` as spent. See `BudgetStore.settle`."""
        with self._lock:
            held = self._held.pop(reservation.id, None)
            if held is not None:
                for charge, amount, spent in zip(held.charges, held.amounts, used, strict=True):
                    self._change(charge.window, spent=spent, reserved=-amount)

    def counters(self, windows: Iterable[BudgetWindow]) -> Mapping[BudgetWindow, BudgetCounter]:
        """Read the counters of ``windows`` in which anything was ever counted. See `BudgetStore.counters`."""
        with self._lock:
            return {window: self._counters[window] for window in windows if window in self._counters}

    def known(self) -> Mapping[BudgetWindow, BudgetCounter]:
        """Read all counters in this process, by window. See `BudgetStore.known`."""
        with self._lock:
            return dict(self._counters)

    def raise_by(self, window: BudgetWindow, amount: int) -> BudgetCounter:
        """Raise the limit of ``window`` by ``amount``. See `BudgetStore.raise_by`."""
        with self._lock:
            return self._change(window, raised=amount)

    def reset(self, window: BudgetWindow) -> BudgetCounter:
        """Set what was spent in ``window`` to 0. See `BudgetStore.reset`."""
        with self._lock:
            return self._change(window, spent=-self._counters.get(window, NOTHING).spent)

    def _shortage(self, charges: Iterable[BudgetCharge]) -> BudgetShortage | None:
        for charge in charges:
            counter = self._counters.get(charge.window, NOTHING)
            if not counter.can_reserve(charge):
                return BudgetShortage(charge, counter)
        return None

    def _change(
        self, window: BudgetWindow, spent: int = 0, reserved: int = 0, raised: int = 0
    ) -> BudgetCounter:
        before = self._counters.get(window)
        if before is None and len(self._counters) >= self._most:
            self._forget(window.begins)
        was = before or NOTHING
        now = BudgetCounter(was.spent + spent, was.reserved + reserved, was.raised + raised)
        self._counters[window] = now
        return now

    def _forget(self, begins: str) -> None:
        """Drop the windows of other days and months in which nothing is reserved."""
        for window, counter in list(self._counters.items()):
            is_now = window.begins.startswith(begins) or begins.startswith(window.begins)
            if not is_now and not counter.reserved:
                del self._counters[window]
        self._most = max(MOST_WINDOWS, 2 * len(self._counters))

    def _sweep(self) -> bool:
        """Release the reservations whose lease has run out; True if there were any. A later settlement still counts."""
        now, found = self._clock(), False
        for name, held in list(self._held.items()):
            if held.ends_at > now:
                continue
            if held.is_lost:
                del self._held[name]
                continue
            for charge, amount in zip(held.charges, held.amounts, strict=True):
                self._change(charge.window, reserved=-amount)
            self._held[name] = _Held(held.charges, (0,) * len(held.charges), now + LATE_SECONDS, is_lost=True)
            found = True
        return found
