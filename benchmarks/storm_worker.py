"""One worker of a storm over several: makes its share of the calls, and notes each.

python -m benchmarks.storm_worker FOLDER DATABASE SEED CALLS FIRST
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import SecretStr

from backend.database.budgets import make_budget_store
from backend.database.ledger import make_ledger_store
from backend.database.postgres import make_postgres_engine
from backend.ledger.shipper import Shipper
from backend.ledger.spool import Spool
from backend.utils.llm import Caller, LLMError, Patchbay, Table, use_caller
from backend.utils.llm.errors import StreamInterruptedError
from backend.utils.llm.testing.patchbays import HOUSE_KEYS

from .ledger_crash import ship
from .process import settled_rss_mb
from .storm import CALL, SYNCHRONOUS, OwnLateness, here, paced, there
from .storm_weather import Weather

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backend.utils.llm.receipt import Attempt
    from backend.utils.llm.routing.route import Route

    from .storm_weather import Deed


WORKERS, THREADS, TASKS = 4, 2, 6
CALLS_PER_SECOND = 40
"""Of all workers together."""
USER_KEYS: Final = ("openai", "gemini", "anthropic")


class Place(NamedTuple):
    """Where a worker finds everything, and which calls are its own: those from ``first`` on, each `WORKERS`-th."""

    folder: str
    database: str
    seed: int
    calls: int
    first: int

    @property
    def notes(self) -> Path:
        """What it has done, a line of JSON for each call that began or ended."""
        return Path(self.folder, "notes", f"{self.first % WORKERS}")


@dataclass
class Worker:
    """Makes its calls, and notes each."""

    place: Place
    ids: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Of each call under way: its id, and how many attempts it has had."""

    def __post_init__(self) -> None:
        self.weather = Weather(self.place.seed, self.place.calls)
        self._notes = os.open(self.place.notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lateness = OwnLateness()

    def note(self, **what: Any) -> None:
        """Write a line."""
        os.write(self._notes, f"{json.dumps(what)}\n".encode())

    def _observe(self, route: Route, _: Attempt) -> None:
        number = CALL.get()
        self.ids[number] = route.call_id or "", self.ids.get(number, ("", 0))[1] + 1

    async def work(self) -> None:
        """Make them all, then ship what is left."""
        engine = make_postgres_engine(self.place.database)
        over = asyncio.Event()
        counters = make_budget_store(Path(), SecretStr(self.place.database))
        with Spool(Path(self.place.folder, "spool")) as spool, closing(counters):
            table = Table(Path(self.place.folder, "llm.toml"), environ=HOUSE_KEYS)
            self.bay = Patchbay(table, observer=self._observe, ledger=spool, budgets=counters)
            self.bay.warm_up()
            shipper = Shipper(spool, make_ledger_store(engine))
            shipping = asyncio.create_task(ship(shipper, over))
            watching = asyncio.create_task(self._lateness.awatch())
            threading.Thread(target=self._lateness.watch, daemon=True).start()
            await self._calls()
            self._lateness.end()
            over.set()
            await asyncio.gather(watching, shipping)
            await self.bay.aclose()
            await shipper.ship_remaining(120.0)
        await engine.dispose()

    async def _calls(self) -> None:
        half = max(self.place.first, self.place.calls // 2 // WORKERS * WORKERS + self.place.first % WORKERS)
        with ThreadPoolExecutor(THREADS) as pool:
            for some in (range(self.place.first, half, WORKERS), range(half, self.place.calls, WORKERS)):
                await paced(iter(some), partial(self._conduct, pool), CALLS_PER_SECOND, THREADS + TASKS)
                self.note(rss=settled_rss_mb())

    async def _conduct(self, pool: ThreadPoolExecutor, number: int) -> None:
        deed = self.weather.deed(number)
        user = deed.user
        caller = (
            Caller()
            if user is None
            else Caller(user_id=f"user-{user}", keys={name: f"sk-user-{user}-{name}" for name in USER_KEYS})
        )
        CALL.set(deed.number)
        self.note(begun=deed.number)
        with use_caller(caller):
            if deed.way in SYNCHRONOUS:
                run = contextvars.copy_context().run
                await asyncio.get_running_loop().run_in_executor(pool, run, self._call, deed)
            else:
                await self._acall(deed)

    def _call(self, deed: Deed) -> None:
        with self._noted(deed) as said:
            said.append(here(self.bay.get_llm(deed.feature), deed))

    async def _acall(self, deed: Deed) -> None:
        with self._noted(deed) as said:
            said.append(await there(self.bay.get_llm(deed.feature), deed))

    @contextmanager
    def _noted(self, deed: Deed) -> Iterator[list[str | None]]:
        """Note how a call ended, and what it said, which is to be added to what this yields."""
        began, late, error = time.monotonic(), self._lateness.seconds, None
        said: list[str | None] = []
        try:
            yield said
        except LLMError as raised:
            error = raised
        at, late = time.monotonic(), self._lateness.seconds - late
        call, attempts = self.ids.pop(deed.number, ("", 0))
        self.note(
            ended=deed.number,
            worker=self.place.first % WORKERS,
            user=None if deed.user is None else f"user-{deed.user}",
            began=began,
            at=at,
            seconds=at - began - late,
            late=late,
            error=error and type(error).__name__,
            text=str(error or ""),
            is_interrupted=isinstance(error, StreamInterruptedError),
            is_final=error is not None and not error.retryable,
            is_wrong=any(item is not None and str(deed.number) not in item for item in said),
            call=call,
            attempts=attempts,
        )


def main(arguments: Sequence[str]) -> None:
    """Be a worker."""
    logging.disable(logging.CRITICAL)  # what fails here is meant to
    folder, database, *numbers = arguments
    with suppress(BrokenPipeError):
        asyncio.run(Worker(Place(folder, database, *map(int, numbers))).work())


if __name__ == "__main__":
    main(sys.argv[1:])
