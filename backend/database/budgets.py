"""The store of budget counters that several processes share, in SQLite or PostgreSQL.

A reservation is one transaction, which locks the counters in the order of `BudgetWindow.lock_order_key`. A thread
writes the usage of finished requests in batches, and always before this process's next reservation. No
commit waits for the disk: after a power failure, the counters may lack the last moments.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections import deque
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import and_, bindparam, delete, insert, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert as insert_in_postgres
from sqlalchemy.dialects.sqlite import insert as insert_in_sqlite
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from typing_extensions import override

from backend.database import postgres
from backend.database.budget_tables import COUNTERS, RESERVATIONS
from backend.database.engine import make_sqlite_budget_engine
from backend.utils.llm.budgets import NOTHING, BudgetCharge, BudgetCounter, BudgetWindow
from backend.utils.llm.forks import ForkSafe
from backend.utils.llm.state.budget_store import LATE_SECONDS, BudgetShortage, BudgetStoreUnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pydantic import SecretStr
    from sqlalchemy import ColumnElement, Connection, Engine

    from backend.background import BackgroundTaskRunner
    from backend.utils.llm.state.budget_store import Reservation

log = logging.getLogger(__name__)

REST_SECONDS: Final = 1.0
"""Seconds for which a database that failed is not asked again: requests do not wait for it."""
IDLE_SECONDS: Final = 30.0
"""Seconds between two searches for expired reservations of other processes."""
BATCH_SECONDS: Final = 0.02
KEPT: Final = timedelta(days=400)
"""How long counters of days and months are kept."""
DAY_SECONDS: Final = 86_400.0
MOST_CONNECTIONS: Final = 8
"""The most connections of one process to a PostgreSQL server."""
MOST_AT_ONCE: Final = 500
"""The most requests that are settled in one transaction."""
MOST_UNSETTLED: Final = 100_000
"""The most requests that wait to be settled while the database is unavailable. Older ones expire with their lease."""
_LONGEST: Final = 200
_LOOKS: Final = 10
"""How often a counter is looked at for one reservation: others may make it, or give room back, between two looks."""
_SECOND: Final = 1_000_000

_C, _R = COUNTERS.c, RESERVATIONS.c
_HERE: Final = and_(*(_C[name] == bindparam(f"of_{name}") for name in BudgetWindow._fields))
_SAYS: Final = (_C.spent, _C.reserved, _C.raised)
_READ: Final = select(*_SAYS).where(_HERE)
_ALL: Final = select(*(_C[name] for name in BudgetWindow._fields), *_SAYS)
_TAKE: Final = (
    update(COUNTERS)
    .where(_HERE, _C.spent + _C.reserved + bindparam("amount") <= bindparam("ceiling") + _C.raised)
    .values(reserved=_C.reserved + bindparam("amount"))
    .returning(*_SAYS)
)
_CHANGE: Final = (
    update(COUNTERS)
    .where(_HERE)
    .values(
        spent=_C.spent + bindparam("by_spent"),
        reserved=_C.reserved + bindparam("by_reserved"),
        raised=_C.raised + bindparam("by_raised"),
    )
    .returning(*_SAYS)
)
_RESET: Final = update(COUNTERS).where(_HERE).values(spent=0).returning(*_SAYS)
_DROP_OLD: Final = delete(COUNTERS).where(_C.begins != "", _C.begins < bindparam("before"), _C.reserved == 0)
_HELD: Final = (_R.id, _R.place, *(_R[name] for name in BudgetWindow._fields), _R.amount)
_SETTLE: Final = delete(RESERVATIONS).where(_R.id.in_(bindparam("ids", expanding=True))).returning(*_HELD)
_NOW: Final[dict[str, ColumnElement[int]]] = {
    "sqlite": literal_column("CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"),
    "postgresql": literal_column("CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"),
}
"""The database's clock, in microseconds: processes' own may differ."""
_NO_CONNECTION: Final = (OperationalError, InterfaceError, NoConnectionError)


class _Ended(NamedTuple):
    """A finished request that is to be settled."""

    reservation: Reservation
    used: tuple[int, ...]


class _ShortageError(Exception):
    """Rolls back the transaction of a reservation that does not fit."""

    def __init__(self, shortage: BudgetShortage) -> None:
        self.shortage = shortage


class _Leases:
    """The SQL statements that depend on the database's clock."""

    def __init__(self, dialect: str) -> None:
        now, is_over = _NOW[dialect], _R.until <= _NOW[dialect]
        self.hold = insert(RESERVATIONS).values(until=now + bindparam("lease"))
        self.lost = select(*_HELD).where(is_over, _R.amount > 0).with_for_update(skip_locked=True)
        self.free = (
            update(RESERVATIONS)
            .where(_R.id == bindparam("of_id"), _R.place == bindparam("of_place"))
            .values(amount=0, until=now + int(LATE_SECONDS * _SECOND))
        )
        self.forget = delete(RESERVATIONS).where(is_over, _R.amount == 0)


def make_budget_store(sqlite_path: Path, postgres_url: SecretStr | None) -> SqlBudgetStore:
    """Make the store of the budget counters: in PostgreSQL if ``postgres_url`` is given, else in SQLite.

    The caller closes the store.

    Args:
        sqlite_path: The SQLite file, whose tables must exist. Not used with PostgreSQL.
        postgres_url: The URL of the PostgreSQL database; None for SQLite.

    Raises:
        UnusableDatabaseError: ``postgres_url`` is not a PostgreSQL URL.
    """
    made = (
        make_sqlite_budget_engine(sqlite_path)
        if postgres_url is None
        else postgres.make_postgres_budget_engine(postgres_url.get_secret_value())
    )
    return SqlBudgetStore(made)


@asynccontextmanager
async def open_budget_store(
    sqlite_path: Path, postgres_url: SecretStr | None, background: BackgroundTaskRunner
) -> AsyncIterator[SqlBudgetStore]:
    """Open the store of the budget counters, and close it when the context ends.

    The arguments are those of `make_budget_store`. Once a day, counters of days and months that began more
    than 400 days ago are deleted.

    Raises:
        UnusableDatabaseError: ``postgres_url`` is not a PostgreSQL URL.
    """
    store = make_budget_store(sqlite_path, postgres_url)

    async def drop_old() -> None:
        oldest = datetime.now(UTC) - KEPT
        await asyncio.to_thread(store.delete_counters_before, f"{oldest:%Y-%m-%d}")

    try:
        async with background.run_repeatedly("budgets", drop_old, interval_s=DAY_SECONDS):
            yield store
    finally:
        await asyncio.to_thread(store.close)


class SqlBudgetStore(ForkSafe):
    """A `BudgetStore` in SQLite or PostgreSQL, which several processes may share.

    `close` must be called at the end; it also disposes of ``engine``.

    Args:
        engine: A synchronous engine for the database. The tables must exist.
    """

    waits = True

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._leases = _Leases(engine.dialect.name)
        super().__init__()

    @override
    def _begin(self) -> None:
        is_file = self._engine.dialect.name == "sqlite"
        # Whoever waits here waits in turn; before a busy database, or for a connection, time may run out.
        self._turn: AbstractContextManager[Any] = (
            threading.Lock() if is_file else threading.BoundedSemaphore(MOST_CONNECTIONS)
        )
        self._flushing = threading.Lock()
        self._starting = threading.Lock()
        self._ended: deque[_Ended] = deque(maxlen=MOST_UNSETTLED)
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._writer: threading.Thread | None = None
        self._rests_until = 0.0

    # What calls do -------------------------------------------------------------------------------------------------

    def reserve(self, reservation: Reservation) -> tuple[BudgetCounter, ...] | BudgetShortage:
        """Reserve all charges of a request in one transaction, and return the new counters.

        If a charge does not fit its budget, nothing is reserved, and the shortage is returned.
        """
        stored = tuple(charge._replace(window=_stored(charge.window)) for charge in reservation.charges)
        self._flush()
        found = self._tried(asked := reservation._replace(charges=stored))
        if (
            isinstance(found, BudgetShortage)
            and found.counter.could_reserve_when_idle(found.charge)
            and self._sweep()
        ):
            found = self._tried(asked)
        if isinstance(found, BudgetShortage):
            return found._replace(charge=reservation.charges[stored.index(found.charge)])
        return found

    def settle(self, reservation: Reservation, used: Sequence[int]) -> None:
        """Record what a request ``used`` of each reserved budget, and release its reservation.

        Returns at once: a background thread writes to the database.
        """
        self._ended.append(_Ended(reservation, tuple(used)))
        if self._writer is None:
            self._start()
        self._wake.set()

    def counters(self, windows: Iterable[BudgetWindow]) -> Mapping[BudgetWindow, BudgetCounter]:
        """Read the counters of ``windows``. Windows that have no counter yet are not in the result."""
        self._flush()
        with self._transaction() as connection:
            rows = ((window, connection.execute(_READ, _key(_stored(window))).first()) for window in windows)
            return {window: BudgetCounter(*row) for window, row in rows if row is not None}

    # What operators do -----------------------------------------------------------------------------------------------

    def known(self) -> Mapping[BudgetWindow, BudgetCounter]:
        """Read all counters in the database, by budget window."""
        self._flush()
        with self._transaction() as connection:
            return {
                _window(row): BudgetCounter(row.spent, row.reserved, row.raised)
                for row in connection.execute(_ALL)
            }

    def raise_by(self, window: BudgetWindow, amount: int) -> BudgetCounter:
        """Raise the limit of ``window`` by ``amount`` (negative to lower it), and return the new counter."""
        self._flush()
        with self._transaction() as connection:
            return _changed(connection, _stored(window), raised=amount)

    def reset(self, window: BudgetWindow) -> BudgetCounter:
        """Set what was spent in ``window`` to zero, and return the new counter."""
        self._flush()
        with self._transaction() as connection:
            row = connection.execute(_RESET, _key(_stored(window))).first()
            return NOTHING if row is None else BudgetCounter(*row)

    def delete_counters_before(self, before: str) -> int:
        """Delete the counters of days and months that began before a date.

        Counters with open reservations, and those of budgets without a period, are kept.

        Args:
            before: The date as ``2026-01-31``, or the month as ``2026-01``.

        Returns:
            How many counters were deleted.
        """
        with self._transaction() as connection:
            return int(connection.execute(_DROP_OLD, {"before": before}).rowcount)

    def close(self) -> None:
        """Write the usage that is still queued, stop the background thread, and dispose of the engine.

        If the database cannot be reached, the queued usage is lost, with a warning in the log.
        """
        self._closed.set()
        self._wake.set()
        if self._writer is not None:
            self._writer.join()
        try:
            self._flush()
        except BudgetStoreUnreachableError:
            log.warning("%d requests were not settled: what they set aside is free later", len(self._ended))
        finally:
            self._engine.dispose()

    # Reservations ----------------------------------------------------------------------------------------------------

    def _tried(self, reservation: Reservation) -> tuple[BudgetCounter, ...] | BudgetShortage:
        try:
            return self._reserved(reservation)
        except _ShortageError as error:
            return error.shortage

    def _reserved(self, reservation: Reservation) -> tuple[BudgetCounter, ...]:
        with self._transaction() as connection:
            taken = tuple(_taken(connection, charge) for charge in reservation.charges)
            lease = int(reservation.seconds * _SECOND)
            rows = [
                {
                    "id": reservation.id,
                    "place": place,
                    "amount": charge.amount,
                    "lease": lease,
                    **charge.window._asdict(),
                }
                for place, charge in enumerate(reservation.charges)
            ]
            connection.execute(self._leases.hold, rows)
            return taken

    def _sweep(self) -> int:
        """Release expired reservations, and return their number. A later settlement is still counted."""
        with self._transaction() as connection:
            connection.execute(self._leases.forget)
            lost = connection.execute(self._leases.lost).all()
            if lost:
                places = [{"of_id": row.id, "of_place": row.place} for row in lost]
                connection.execute(self._leases.free, places)
            _apply(connection, ((_window(row), 0, -row.amount) for row in lost))
            return len(lost)

    # Settling ----------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Count what this process's finished requests used."""
        with self._flushing:
            while self._ended:
                batch = [self._ended.popleft() for _ in range(min(len(self._ended), MOST_AT_ONCE))]
                try:
                    self._settled(batch)
                except BaseException:
                    self._ended.extendleft(reversed(batch))
                    raise

    def _settled(self, batch: Sequence[_Ended]) -> None:
        used = {ended.reservation.id: ended.used for ended in batch}
        with self._transaction() as connection:
            rows = connection.execute(_SETTLE, {"ids": list(used)}).all()
            _apply(connection, ((_window(row), used[row.id][row.place], -row.amount) for row in rows))

    def _start(self) -> None:
        with self._starting:
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="budgets", daemon=True)
                self._writer.start()

    def _write(self) -> None:
        """In a thread: settle finished requests soon, and now and then release reservations of dead processes."""
        swept_at = time.monotonic()
        while not self._closed.is_set():
            if self._wake.wait(IDLE_SECONDS):
                self._closed.wait(BATCH_SECONDS)
            self._wake.clear()
            try:
                self._flush()
                if time.monotonic() - swept_at >= IDLE_SECONDS:
                    self._sweep()
                    swept_at = time.monotonic()
            except Exception as error:
                if not isinstance(error, BudgetStoreUnreachableError):
                    log.exception("budgets could not be settled; it is tried again")
                self._closed.wait(REST_SECONDS)
                self._wake.set()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """A transaction of the database; in SQLite, one at a time.

        Raises:
            BudgetStoreUnreachableError: The database cannot be read or written.
        """
        if time.monotonic() < self._rests_until:
            raise BudgetStoreUnreachableError("the database did not answer a moment ago")
        try:
            with self._turn, self._engine.begin() as connection:
                yield connection
        except _NO_CONNECTION as error:
            self._rests_until = time.monotonic() + REST_SECONDS
            raise BudgetStoreUnreachableError(type(getattr(error, "orig", error)).__name__) from error
        except DBAPIError as error:
            raise BudgetStoreUnreachableError(type(error.orig).__name__) from error


def _taken(connection: Connection, charge: BudgetCharge) -> BudgetCounter:
    """Reserve ``charge`` in its counter.

    Raises:
        _ShortageError: There is no room.
    """
    key = _key(charge.window)
    wanted = {**key, "amount": charge.amount, "ceiling": charge.ceiling}
    counter = NOTHING
    for _ in range(_LOOKS):
        if (row := connection.execute(_TAKE, wanted).first()) is not None:
            return BudgetCounter(*row)
        if (found := connection.execute(_READ, key).first()) is None:
            _make(connection, charge.window)
        elif not (counter := BudgetCounter(*found)).can_reserve(charge):
            break
    raise _ShortageError(BudgetShortage(charge, counter))


def _make(connection: Connection, window: BudgetWindow) -> None:
    """Insert an empty counter, unless it exists."""
    nothing = {**window._asdict(), "spent": 0, "reserved": 0, "raised": 0}
    made = insert_in_sqlite if connection.dialect.name == "sqlite" else insert_in_postgres
    connection.execute(made(COUNTERS).on_conflict_do_nothing(), nothing)


def _apply(connection: Connection, changes: Iterable[tuple[BudgetWindow, int, int]]) -> None:
    """Change spent and reserved amounts of the counters, in the order in which all transactions lock them."""
    total: dict[BudgetWindow, tuple[int, int]] = {}
    for window, spent, reserved in changes:
        before = total.get(window, (0, 0))
        total[window] = before[0] + spent, before[1] + reserved
    for window in sorted(total, key=lambda window: window.lock_order_key):
        _changed(connection, window, spent=total[window][0], reserved=total[window][1])


def _changed(
    connection: Connection, window: BudgetWindow, spent: int = 0, reserved: int = 0, raised: int = 0
) -> BudgetCounter:
    key = _key(window)
    change = {**key, "by_spent": spent, "by_reserved": reserved, "by_raised": raised}
    row = connection.execute(_CHANGE, change).first()
    if row is None:
        _make(connection, window)
        row = connection.execute(_CHANGE, change).one()
    return BudgetCounter(*row)


def _window(row: Any) -> BudgetWindow:
    return BudgetWindow(row.budget, row.per, row.subject, row.begins)


def _key(window: BudgetWindow) -> dict[str, str]:
    return {f"of_{name}": value for name, value in window._asdict().items()}


def _stored(window: BudgetWindow) -> BudgetWindow:
    """``window`` with a subject that the database can store and index; a long subject is replaced by its hash."""
    readable = window.subject.encode(errors="replace").decode().replace("\0", "\ufffd")
    if len(readable) > _LONGEST:
        readable = f"{readable[:_LONGEST]}…{hashlib.sha256(readable.encode()).hexdigest()}"
    return window._replace(subject=readable)
