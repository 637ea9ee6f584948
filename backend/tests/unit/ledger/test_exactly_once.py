"""Whatever happens to writers, files, marks and the store: each record that was written is in the store exactly once."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from backend.ledger.folders import list_spool_folders
from backend.ledger.shipper import Shipper
from backend.ledger.spool import Spool, SpoolLimits
from backend.tests.fakes.clock import Clock
from backend.tests.fakes.records import record
from backend.tests.fakes.spools import MemoryLedgerStore, crash

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from backend.ledger.store import SpooledRecord
    from backend.utils.llm.ledger.record import AttemptRecord

Key = tuple[str, int]
BOUNDS = SpoolLimits(segment=1_500)


class Interrupted(MemoryLedgerStore):
    """Dies after rows are added and before that is said, when told to."""

    dies = False

    async def add(self, rows: Sequence[SpooledRecord]) -> int:
        added = await super().add(rows)
        if self.dies:
            self.dies = False
            raise ConnectionResetError
        return added


class World:
    """Some processes one after the other, one store, and what should be in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Interrupted()
        self.written: dict[Key, AttemptRecord] = {}
        self.clock = Clock()
        self.restart()

    def restart(self) -> None:
        self.spool = Spool(self.root, BOUNDS)
        self.shipper = Shipper(self.spool, self.store, clock=self.clock, now=self.clock)
        self.sequence = 0

    async def append(self, rows: int) -> None:
        for _ in range(rows):
            self.sequence += 1
            said = record(user=str(len(self.written)))
            self.spool.append(said)
            self.written[self.spool.writer, self.sequence] = said

    async def tend(self, _: int) -> None:
        self.spool.run_maintenance()

    async def ship(self, _: int) -> None:
        self.clock.now += 60.0
        with suppress(ConnectionResetError):
            await self.shipper.ship()

    async def leave(self, _: int) -> None:
        self.store.is_away = not self.store.is_away

    async def die(self, _: int) -> None:
        self.store.dies = True

    async def forget(self, cut: int) -> None:
        for mark in self.root.rglob("shipped"):
            mark.write_bytes(mark.read_bytes()[: cut % 40])

    async def stop(self, _: int) -> None:
        self.spool.close()
        self.restart()

    async def kill(self, _: int) -> None:
        crash(self.spool)
        self.restart()

    async def lose_power(self, cut: int) -> None:
        """Some of the last bytes never reached the disk."""
        segments = sorted(self.spool.folder.glob("*.log")) if self.spool.folder else []
        crash(self.spool)
        if segments:
            content = segments[-1].read_bytes().rstrip(b"\0")
            left = content[: max(0, len(content) - cut)]
            segments[-1].write_bytes(left)
            for number in range(content.count(b"\n") - max(1, left.count(b"\n"))):
                key = self.spool.writer, self.sequence - number
                if key not in self.store.rows:
                    del self.written[key]
        self.restart()

    async def end(self) -> None:
        self.store.is_away = self.store.dies = False
        self.spool.close()
        self.clock.now += 60.0
        await self.shipper.ship()


STEPS: dict[str, Callable[[World, int], Awaitable[None]]] = {
    "append": World.append,
    "tend": World.tend,
    "ship": World.ship,
    "store away or back": World.leave,
    "store dies": World.die,
    "mark torn": World.forget,
    "stop": World.stop,
    "kill": World.kill,
    "power": World.lose_power,
}
step = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 12)),
    st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 3_000)).filter(lambda one: one[0] != "append"),
)


@given(st.lists(step, max_size=15))
def test_whatever_happens_each_record_is_in_the_store_once(steps: list[tuple[str, int]]) -> None:
    async def go(root: Path) -> None:
        world = World(root)
        for name, figure in steps:
            await STEPS[name](world, figure)
        await world.end()

        assert world.store.rows == world.written
        assert list_spool_folders(root) == []

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(go(Path(folder) / "ledger"))
