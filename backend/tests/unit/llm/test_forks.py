"""A forked child has for itself what its parent keeps: connections, locks, tickets, and what is under way."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any
from weakref import ref

import pytest
from typing_extensions import override
from uuid_utils import uuid7

from backend.tests.fakes.children import Child, fork, forking, in_child
from backend.utils.llm import forks
from backend.utils.llm.errors import LLMError
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.forks import ForkSafe
from backend.utils.llm.model_config import Table
from backend.utils.llm.state.health import Circuit, HealthTracker
from backend.utils.llm.state.traffic import TrafficState
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_patchbay, loopback_table
from backend.utils.llm.testing.replies import Text
from backend.utils.llm.transport import Credential
from backend.utils.llm.transport import resolver as look_up
from backend.utils.llm.transport.ticket import TicketRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.testing import LoopbackProvider
    from backend.utils.llm.testing.replies import Reply
    from backend.utils.llm.testing.transmission import ReplyContext

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

FEATURES = {"over_openai": "openai:gpt-6-luna", "over_gemini": "gemini:gemini-3.5-flash-lite"}
CALLS = 12


@pytest.fixture
def echo(provider: LoopbackProvider, monkeypatch: pytest.MonkeyPatch) -> LoopbackProvider:
    """A provider that answers each request with its own words."""

    def reply(exchange: ReplyContext) -> Reply:
        return Text(exchange.prompt.turns[-1].text)

    monkeypatch.setattr(provider, "next_reply", reply)
    return provider


@pytest.fixture
def bay(echo: LoopbackProvider) -> Iterator[Patchbay]:
    """Both wires on it, in real time."""
    made = loopback_patchbay(echo, FEATURES)
    yield made
    made.close()


def wrong(bay: Patchbay, who: str) -> list[str]:
    """Of calls over both wires, the answers that are not their own."""
    asked = [(feature, f"{who} {number}") for number in range(CALLS) for feature in FEATURES]
    told = [(bay.get_llm(feature).invoke(text).text, text) for feature, text in asked]
    return [f"{text}: {answer}" for answer, text in told if answer != text]


async def awrong(bay: Patchbay, who: str) -> list[str]:
    """Like `wrong`, from an event loop, many at once."""
    asked = [(feature, f"{who} {number}") for number in range(CALLS) for feature in FEATURES]
    told = await asyncio.gather(*(bay.get_llm(feature).ainvoke(text) for feature, text in asked))
    return [
        f"{text}: {message.text}"
        for message, (_, text) in zip(told, asked, strict=True)
        if message.text != text
    ]


class TestConnections:
    def test_parent_and_children_each_get_their_own_answers(self, bay: Patchbay) -> None:
        wrong(bay, "before")

        children = [fork(lambda who=who: wrong(bay, who)) for who in ("ann", "ben", "cleo")]  # type: ignore[misc]
        mine = wrong(bay, "parent")

        assert [mine, *(child.result() for child in children)] == [[], [], [], []]

    async def test_a_loop_and_the_loops_of_its_children_get_their_own_answers(self, bay: Patchbay) -> None:
        await awrong(bay, "before")

        children = [fork(lambda who=who: in_a_loop(bay, who)) for who in ("ann", "ben")]  # type: ignore[misc]
        mine = await awrong(bay, "parent")

        assert mine == []
        assert await results(children) == [[], []]
        await bay.aclose()

    async def test_workers_of_a_process_pool_get_their_own_answers(self, bay: Patchbay) -> None:
        await awrong(bay, "before")
        context = multiprocessing.get_context("fork")

        with forking(), ProcessPoolExecutor(2, context, _take, (bay,)) as executor:
            loop = asyncio.get_running_loop()
            theirs = [loop.run_in_executor(executor, _wrong_here, who) for who in ("ann", "ben")]
            found = [await awrong(bay, "parent"), *await asyncio.gather(*theirs)]

        assert found == [[], [], []]
        await bay.aclose()

    def test_a_childs_end_leaves_the_parents_connections_as_they_are(
        self, bay: Patchbay, echo: LoopbackProvider
    ) -> None:
        wrong(bay, "before")
        connected = set(connections(echo))

        def end() -> None:
            bay.close()
            forget()

        in_child(end)

        assert wrong(bay, "after") == []
        assert set(connections(echo)) == connected

    async def test_a_child_that_closes_the_parents_loop_leaves_its_connections_as_they_are(
        self, bay: Patchbay, echo: LoopbackProvider
    ) -> None:
        await awrong(bay, "before")
        connected = set(connections(echo))
        pool = await bay.runtime.transport.pools.get_loop_pool()

        async def close() -> None:
            await pool.lifetime.aclose()

        def end() -> list[str]:
            with suppress(RuntimeError):  # it is another loop's
                asyncio.run(close())
            forget()
            return in_a_loop(bay, "child")

        assert await asyncio.to_thread(fork(end).result) == []
        assert await awrong(bay, "after") == []
        assert connected <= set(connections(echo))
        await bay.aclose()

    @pytest.mark.parametrize("feature", FEATURES)
    def test_a_stream_that_is_under_way_is_the_parents(self, bay: Patchbay, feature: str) -> None:
        text = " ".join(map(str, range(2_000)))
        stream = bay.get_llm(feature).stream(text)
        first = next(stream)

        def go_on() -> str:
            try:
                return "".join(chunk.text for chunk in stream)
            except LLMError as error:
                return error.code

        child = in_child(go_on)

        assert child == "stream_interrupted"
        assert first.text + "".join(chunk.text for chunk in stream) == text


class TestLocks:
    def test_a_child_waits_for_no_lock_of_another_thread(self, bay: Patchbay) -> None:
        wrong(bay, "before")

        with held_elsewhere(every_lock()):
            told = in_child(lambda: wrong(bay, "child"))

        assert told == []

    def test_what_was_made_first_begins_again_first(self) -> None:
        begun: list[int] = []

        class One(ForkSafe):
            def __init__(self, number: int) -> None:
                self.number = number
                super().__init__()

            @override
            def _begin(self) -> None:
                begun.append(self.number)

        kept = [One(number) for number in range(50)]
        begun.clear()

        assert in_child(lambda: begun) == [one.number for one in kept]

    def test_a_child_waits_for_no_look_up_of_another_thread(self) -> None:
        look_up.resolve_host(None, "127.0.0.1", 80, 5.0)

        assert in_child(lambda: look_up.resolve_host(None, "127.0.0.1", 80, 5.0)) == ["127.0.0.1"]

    def test_a_table_that_was_being_read_is_read_by_the_child(
        self, provider: LoopbackProvider, tmp_path: Path
    ) -> None:
        file = tmp_path / "llm.toml"
        file.write_text(loopback_table(provider, {"old": "openai:gpt-6-luna"}))
        table = Table(file, environ=HOUSE_KEYS)
        file.write_text(loopback_table(provider, {"new_one": "openai:gpt-6-luna"}))
        told: list[object] = []

        def check(_: object) -> tuple[str, ...]:
            """It is asked while the table is read, and before it is in force."""
            table._checks.clear()
            told.extend(in_child(lambda: [table.reload_if_changed(), *table.snapshot.features]))
            return ()

        table._checks.append(check)
        table.reload()

        assert told == [True, "new_one"]


class TestFirstUse:
    def test_a_fork_waits_for_what_is_half_imported(self) -> None:
        begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

        def load() -> None:
            with forks.delay_forks():
                begun.set()
                go_on.wait(5)
                done.set()

        thread = threading.Thread(target=load)
        thread.start()
        begun.wait()
        threading.Thread(target=go_on.set).start()

        assert in_child(done.is_set)
        thread.join()

    def test_a_process_that_imports_may_fork_and_so_may_its_child(self) -> None:
        with forks.delay_forks():
            assert in_child(lambda: in_child(lambda: in_child(os.getpid) > 0))

        assert in_child(os.getpid) > 0

    def test_a_fork_does_not_wait_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(forks, "LONGEST_WAIT", 0.0)

        with held_elsewhere([forks._gate._lock]):
            assert in_child(os.getpid) > 0


class TestWhatIsUnderWay:
    def test_places_that_the_parent_has_taken_are_free_in_a_child(self, echo: LoopbackProvider) -> None:
        limits = "[features.over_openai]\ndeadline = 20\nlimits = { concurrency = 1 }\n"
        bay = loopback_patchbay(echo, {"over_openai": "openai:gpt-6-luna"}, limits)
        stream = bay.get_llm("over_openai").stream("one two three")
        first = next(stream)

        assert in_child(lambda: bay.get_llm("over_openai").invoke("mine").text) == "mine"

        assert first.text + "".join(chunk.text for chunk in stream) == "one two three"
        bay.close()

    def test_what_the_parent_learnt_of_an_endpoint_is_known_and_its_probe_is_not_the_childs(self) -> None:
        health, circuit = HealthTracker(lambda: 0.0), Circuit("openai:gpt-6-luna", "open")
        for _ in range(5):
            health.record_failure(circuit, FailureCategory.SERVER)
        health.admit_request(circuit, 10.0, last_resort=True)

        def rests() -> str | None:
            rest = health.find_unavailable_reason(circuit)
            return None if rest is None else rest.kind

        assert rests() == "probing"
        assert in_child(rests) == "open"

    def test_a_request_of_the_parents_that_ends_in_a_child_ends_none_of_its_own(self) -> None:
        traffic, target = TrafficState(lambda: 0.0), ("openai:gpt-6-luna", "open")
        before = next(traffic.numbers)
        traffic.targets.record_start(target, before, 10.0)

        def busy() -> int:
            traffic.targets.record_start(target, next(traffic.numbers), 10.0)
            traffic.targets.record_end(target, before)
            return traffic.targets.in_flight_count(target)

        assert in_child(busy) == 1

    def test_a_ticket_of_the_parents_sends_nothing_in_a_child(self, bay: Patchbay) -> None:
        tickets = bay.runtime.transport.tickets
        endpoint = bay.explain("over_openai").candidates[0].endpoint
        ticket = tickets.open(endpoint.provider, Credential("house", None), 10.0)

        assert tickets.find(ticket.number) is ticket
        assert in_child(lambda: tickets.find(ticket.number) is None)


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda made: made.runtime.time.random(), id="jitter"),
        pytest.param(lambda made: made.health.traffic.round_robin.choice_random_number, id="dice"),
        pytest.param(lambda made: made.health.traffic.round_robin.variant_random_number, id="toss"),
        pytest.param(lambda made: made.runtime.transport.tickets._prefix, id="ticket"),
        pytest.param(lambda _: str(uuid7())[-8:], id="the random end of a call's id"),
    ],
)
def test_no_two_processes_draw_the_same(bay: Patchbay, draw: Callable[[Patchbay], Any]) -> None:
    draw(bay)

    drawn = [in_child(lambda: draw(bay)), in_child(lambda: draw(bay)), draw(bay)]

    assert len(set(drawn)) == 3


def test_what_is_made_anew_is_not_kept_alive_for_that() -> None:
    tickets = ref(TicketRegistry(lambda: 0.0))
    gc.collect()

    assert tickets() is None


def in_a_loop(bay: Patchbay, who: str) -> list[str]:
    """`awrong` in a loop of its own."""

    async def go() -> list[str]:
        found = await awrong(bay, who)
        await bay.aclose()
        return found

    return asyncio.run(go())


async def results(children: list[Child]) -> list[Any]:
    return [await asyncio.to_thread(child.result) for child in children]


def forget() -> None:
    """Let all that the parent had be finalised here."""
    sys.unraisablehook = lambda _: None  # it would be told that it was never closed
    forks._inherited.clear()
    gc.collect()


def connections(provider: LoopbackProvider) -> list[threading.Thread]:
    """A thread serves each."""
    assert provider._server is not None
    return [thread for thread, _ in provider._server._open()]


def every_lock() -> list[Any]:
    """Those of all that is made anew, but for the one for which a fork itself waits half a minute."""
    living = [safe for safe in list(forks._living) if safe is not forks._gate]
    made = [value for safe in living for value in vars(safe).values()]
    return [one for one in made if isinstance(one, type(threading.Lock()) | type(threading.RLock()))]


class held_elsewhere(ExitStack):  # noqa: N801 - reads as what it does
    """Locks that another thread has."""

    def __init__(self, locks: list[Any]) -> None:
        super().__init__()
        taken, over = threading.Event(), threading.Event()

        def hold() -> None:
            with ExitStack() as stack:
                for lock in locks:
                    stack.enter_context(lock)
                taken.set()
                over.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        taken.wait()
        self.callback(thread.join)
        self.callback(over.set)


_here: list[Patchbay] = []


def _take(bay: Patchbay) -> None:
    _here.append(bay)


def _wrong_here(who: str) -> list[str]:
    return wrong(_here[0], who)


def test_something_new_needs_no_more_than_to_be_per_process() -> None:
    class New(ForkSafe):
        def _begin(self) -> None:
            self.of = os.getpid()

    new = New()

    assert new.of == os.getpid()
    assert in_child(lambda: new.of == os.getpid())
