"""The supervisor of workers, with workers that only say what they are told."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from backend.local_model.process import LocalModelAddress
from backend.tests.fakes import worker
from backend.workers import supervisor
from backend.workers.supervisor import Supervisor, SupervisorTimes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from backend.local_model.process import State

TOKEN = "a-launch-token"
KEY = "canary-the-key-of-the-model"


class Model:
    """A built-in model that is as a test says."""

    label = "A model"
    state: State = "starting"
    reason: str | None = None
    _address: LocalModelAddress | None = None

    def be_ready(self) -> None:
        self.state, self._address = "ready", LocalModelAddress("http://127.0.0.1:1/v1", KEY)

    def current_address(self) -> LocalModelAddress | None:
        return self._address


class Workers:
    """What workers heard."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.behave("serve")

    def behave(self, how: str) -> None:
        (self.folder / "behaviour").write_text(how)

    def heard(self, pid: int) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / str(pid)).read_text().splitlines()]

    def pids(self) -> list[int]:
        return [int(file.name) for file in self.folder.iterdir() if file.name.isdigit()]

    def all_heard(self) -> list[list[dict[str, Any]]]:
        return [self.heard(pid) for pid in self.pids()]


@pytest.fixture
def workers(tmp_path: Path) -> Workers:
    return Workers(tmp_path)


def supervised(workers: Workers, model: Model | None = None, **more: Any) -> Supervisor:
    command = (sys.executable, "-S", str(Path(worker.__file__)), str(workers.folder))
    return Supervisor(2, model or Model(), TOKEN, command, SupervisorTimes(**{"pauses": (0.01,), **more}))  # type: ignore[arg-type]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - other processes have no event for it
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(one: Supervisor) -> AsyncIterator[asyncio.Task[None]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(one.serve(listener))
        try:
            await until(lambda: one.is_started or task.done())
            yield task
        finally:
            one.stop(0)
            await task


def is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def test_each_worker_is_told_of_channel_token_and_model_on_its_standard_input(workers: Workers) -> None:
    one = supervised(workers)

    async with serving(one):
        first, second = map(workers.heard, one.worker_pids)

    assert first[0].pop("channel") != second[0].pop("channel")
    assert first[0] == second[0]
    assert first[0]["launch_token"] == TOKEN
    assert first[0]["model"] == {
        "kind": "model",
        "label": "A model",
        "state": "starting",
        "reason": None,
        "address": None,
    }


async def test_a_stop_tells_all_and_leaves_no_process(workers: Workers) -> None:
    one = supervised(workers)

    async with serving(one) as task:
        pids = one.worker_pids
        one.stop(2.5)
        await task

    assert [heard[1:] for heard in workers.all_heard()] == [[{"kind": "stop", "seconds": 2.5}]] * 2
    assert not any(map(is_alive, pids))


async def test_a_stop_tells_all_that_they_are_leaving_before_they_stop(workers: Workers) -> None:
    one = supervised(workers, leaving=0.05)

    async with serving(one) as task:
        one.stop(2.5)
        await task

    leaving = [{"kind": "leave"}, {"kind": "stop", "seconds": 2.5}]
    assert [heard[1:] for heard in workers.all_heard()] == [leaving] * 2


async def test_a_second_stop_does_not_wait_until_workers_have_left(workers: Workers) -> None:
    one = supervised(workers, leaving=3600.0)

    async with serving(one) as task:
        one.stop(2.5)
        await until(lambda: all(len(heard) == 2 for heard in workers.all_heard()))
        one.stop(0)
        await task

    leaving = [{"kind": "leave"}, {"kind": "stop", "seconds": 0.0}]
    assert [heard[1:] for heard in workers.all_heard()] == [leaving] * 2


async def test_a_worker_that_ends_by_itself_is_replaced(workers: Workers) -> None:
    one = supervised(workers)

    async with serving(one):
        before = one.worker_pids
        os.kill(before[0], signal.SIGKILL)
        await until(lambda: before[0] not in one.worker_pids and len(workers.all_heard()) == 3)

        assert before[1] in one.worker_pids


async def test_a_worker_that_stops_by_itself_gets_no_more_connections(workers: Workers) -> None:
    workers.behave("retire")
    one = supervised(workers)

    async with serving(one):
        first, second = (one._places[place] for place in range(2))
        os.kill(first.process.pid, signal.SIGTERM)
        await until(lambda: first.channel.fileno() < 0)

        assert is_alive(first.process.pid)
        assert list(one._dispatcher._channels) == [second.channel]


async def test_a_first_worker_that_cannot_start_ends_all(workers: Workers) -> None:
    workers.behave("fail")
    one = supervised(workers)

    async with serving(one) as task:
        await task

    assert not one.is_started
    assert one.worker_pids == () or not any(map(is_alive, one.worker_pids))


async def test_a_restart_gives_the_former_workers_time_for_their_answers(workers: Workers) -> None:
    one = supervised(workers)

    async with serving(one):
        before = one.worker_pids
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: not set(before) & set(one.worker_pids) and not any(map(is_alive, before)))

        stops = [workers.heard(pid)[-1] for pid in before]

    assert stops == [{"kind": "stop", "seconds": supervisor.DRAIN_SECONDS}] * 2


async def test_a_restart_is_told_when_it_begins_and_when_it_is_over(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    one = supervised(workers)

    async with serving(one):
        await one.restart_workers()

    told = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert told == ["workers.restart_began workers=2", "workers.restarted workers=2"]


async def test_a_restart_with_workers_that_cannot_start_changes_nothing(workers: Workers) -> None:
    one = supervised(workers)

    async with serving(one):
        before = one.worker_pids
        workers.behave("fail")
        await one.restart_workers()

        assert one.worker_pids == before
        assert all(map(is_alive, before))


async def test_a_worker_that_does_not_end_is_killed(workers: Workers) -> None:
    workers.behave("deaf")
    one = supervised(workers, ending=0.05)

    async with serving(one) as task:
        pids = one.worker_pids
        one.stop(0)
        await task

    assert not any(map(is_alive, pids))


async def test_a_worker_that_hangs_at_its_start_is_killed_and_a_restart_with_it_changes_nothing(
    workers: Workers,
) -> None:
    one = supervised(workers, start=5.0)

    async with serving(one):
        before = one.worker_pids
        workers.behave("hang")
        one._times = one._times._replace(start=0.3)
        await one.restart_workers()

        assert one.worker_pids == before
        await until(lambda: len([pid for pid in workers.pids() if is_alive(pid)]) == 2)


async def test_a_worker_that_ended_is_not_replaced_twice_when_a_restart_comes_meanwhile(
    workers: Workers,
) -> None:
    one = supervised(workers, pauses=(0.2,))

    async with serving(one):
        os.kill(one.worker_pids[0], signal.SIGKILL)
        await until(lambda: len([pid for pid in workers.pids() if is_alive(pid)]) == 1)
        await one.restart_workers()
        await until(lambda: len(one._tasks) == 2)  # those that watch the two

        assert sorted(pid for pid in workers.pids() if is_alive(pid)) == sorted(one.worker_pids)


async def test_what_a_worker_prints_breaks_nothing(workers: Workers) -> None:
    workers.behave("talk")
    one = supervised(workers)

    async with serving(one):
        before = one.worker_pids
        os.kill(before[0], signal.SIGKILL)
        await until(lambda: before[0] not in one.worker_pids and len(workers.pids()) == 3)


async def test_a_restart_that_is_wanted_during_another_follows_it(workers: Workers) -> None:
    one = supervised(workers)

    async with serving(one):
        await asyncio.gather(one.restart_workers(), one.restart_workers(), one.restart_workers())

        assert len(workers.pids()) == 6


async def test_a_place_stays_to_be_filled_while_no_process_can_be_started(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    one = supervised(workers)

    async with serving(one):
        before, command = one.worker_pids, one._command
        one._command = ("/nowhere/python",)
        os.kill(before[0], signal.SIGKILL)
        await until(lambda: "workers.cannot_start" in caplog.text)
        one._command = command
        await until(lambda: before[0] not in one.worker_pids and len(workers.pids()) == 3)


async def test_workers_hear_when_the_model_is_ready(workers: Workers) -> None:
    model = Model()
    one = supervised(workers, model)

    async with serving(one):
        model.be_ready()
        await until(lambda: all(len(heard) == 2 for heard in workers.all_heard()))

    address = {"base_url": "http://127.0.0.1:1/v1", "key": KEY}
    for heard in workers.all_heard():
        assert (heard[1]["state"], heard[1]["address"]) == ("ready", address)


def test_neither_token_nor_key_is_in_what_an_order_shows() -> None:
    model = Model()
    model.be_ready()

    assert KEY not in repr(supervisor.make_built_in_model_state(model))  # type: ignore[arg-type]
