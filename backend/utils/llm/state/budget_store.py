"""Where budgets are counted: what a store of them does, and the one in memory.

A request sets aside the most that it could use of every counter, or of none; when it is over, what it used is counted, and
the rest is free again. What a process that died has set aside is free again when its lease has run out.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from typing_extensions import override

from ..budgets import NOTHING, BudgetWindow, Charge, Counter
from ..forks import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

MOST_WINDOWS = 100_000
"""Of one process. Beyond it, windows of days and months that are over are forgotten."""


LATE_SECONDS = 86_400.0
"""How long after its lease a request may still be settled."""


class BudgetStoreAwayError(Exception):
    """The store cannot be asked now. Raised by stores; what a call does then, each budget says."""


class Reservation(NamedTuple):
    """What one request sets aside, of several counters.

    Attributes:
        id: What no other reservation has, in any process.
        charges: In the order of `BudgetWindow.order`.
        seconds: How long it holds if nobody settles it.
    """

    id: str
    charges: tuple[Charge, ...]
    seconds: float


class Shortage(NamedTuple):
    """Why nothing was set aside: the first counter without room, and what it says."""

    charge: Charge
    counter: Counter


class BudgetStore(Protocol):
    """Counters that may be shared by processes. Each method may be called from any thread.

    Attributes:
        waits: Whether it waits for a disk or a network: then nobody calls it on an event loop.
    """

    @property
    def waits(self) -> bool:
        """See the class."""
        ...

    def reserve(self, reservation: Reservation) -> tuple[Counter, ...] | Shortage:
        """Set aside all of ``reservation``, and tell what each counter says then; or nothing of it, and tell why.

        Raises:
            BudgetStoreAwayError: It cannot be asked.
        """
        ...

    def settle(self, reservation: Reservation, used: Sequence[int]) -> None:
        """Count what was ``used`` of each charge, and free what was set aside. Once; later ones change nothing.

        Never waits, and never raises: what cannot be counted now is counted later.
        """
        ...

    def counters(self, windows: Iterable[BudgetWindow]) -> Mapping[BudgetWindow, Counter]:
        """What each of ``windows`` says; none that nothing is known of.

        Raises:
            BudgetStoreAwayError: It cannot be asked.
        """
        ...

    def known(self) -> Mapping[BudgetWindow, Counter]:
        """Every window that something is known of.

        Raises:
            BudgetStoreAwayError: It cannot be asked.
        """
        ...

    def raise_by(self, window: BudgetWindow, amount: int) -> Counter:
        """Let ``amount`` more be spent in ``window``; less, if it is negative.

        Raises:
            BudgetStoreAwayError: It cannot be asked.
        """
        ...

    def reset(self, window: BudgetWindow) -> Counter:
        """Forget what was spent in ``window``. What is under way stays set aside, and is counted when it is over.

        Raises:
            BudgetStoreAwayError: It cannot be asked.
        """
        ...


@dataclass(slots=True)
class _Held:
    """What one request has set aside.

    Attributes:
        amounts: Of each charge; nothing once it is lost.
        ends_at: When its lease runs out; once it is lost, when nobody is expected to settle it any more.
    """

    charges: tuple[Charge, ...]
    amounts: tuple[int, ...]
    ends_at: float
    is_lost: bool = False


class MemoryBudgets(PerProcess):
    """Counts for one process.

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
        self._counters: dict[BudgetWindow, Counter] = {}
        self._most = MOST_WINDOWS
        self._held: dict[str, _Held] = {}

    def reserve(self, reservation: Reservation) -> tuple[Counter, ...] | Shortage:
        """See `BudgetStore`."""
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
        """See `BudgetStore`."""
        with self._lock:
            held = self._held.pop(reservation.id, None)
            if held is not None:
                for charge, amount, spent in zip(held.charges, held.amounts, used, strict=True):
                    self._change(charge.window, spent=spent, reserved=-amount)

    def counters(self, windows: Iterable[BudgetWindow]) -> Mapping[BudgetWindow, Counter]:
        """See `BudgetStore`."""
        with self._lock:
            return {one: self._counters[one] for one in windows if one in self._counters}

    def known(self) -> Mapping[BudgetWindow, Counter]:
        """See `BudgetStore`."""
        with self._lock:
            return dict(self._counters)

    def raise_by(self, window: BudgetWindow, amount: int) -> Counter:
        """See `BudgetStore`."""
        with self._lock:
            return self._change(window, raised=amount)

    def reset(self, window: BudgetWindow) -> Counter:
        """See `BudgetStore`."""
        with self._lock:
            return self._change(window, spent=-self._counters.get(window, NOTHING).spent)

    def _shortage(self, charges: Iterable[Charge]) -> Shortage | None:
        for charge in charges:
            counter = self._counters.get(charge.window, NOTHING)
            if not counter.has_room(charge):
                return Shortage(charge, counter)
        return None

    def _change(self, window: BudgetWindow, spent: int = 0, reserved: int = 0, raised: int = 0) -> Counter:
        before = self._counters.get(window)
        if before is None and len(self._counters) >= self._most:
            self._forget(window.begins)
        was = before or NOTHING
        now = Counter(was.spent + spent, was.reserved + reserved, was.raised + raised)
        self._counters[window] = now
        return now

    def _forget(self, begins: str) -> None:
        """Drop the windows of other days and months, as far as nothing of them is set aside."""
        for one, counter in list(self._counters.items()):
            is_now = one.begins.startswith(begins) or begins.startswith(one.begins)
            if not is_now and not counter.reserved:
                del self._counters[one]
        self._most = max(MOST_WINDOWS, 2 * len(self._counters))

    def _sweep(self) -> bool:
        """Free what nobody settled in time. True if there was any. What is settled later all the same is counted then."""
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
