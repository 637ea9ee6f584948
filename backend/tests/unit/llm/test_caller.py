"""Who asks, and with whose keys."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from backend.utils.llm.caller import HOUSE, Caller, await_without_caller, carrying, current_caller, use_caller
from backend.utils.llm.clients import get_llm, use
from backend.utils.llm.errors import MissingCallerError
from backend.utils.llm.model_config import Table
from backend.utils.llm.patchbay import Patchbay
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_table

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from backend.utils.llm.testing import LoopbackProvider

CANARY = "sk-canary-8f3a"


@pytest.mark.parametrize(
    ("caller", "policy"),
    [
        (Caller(), "house_only"),
        (Caller(keys={"openai": CANARY}), "byok_only"),
        (Caller(keys={"openai": "  "}), "house_only"),
        (Caller(keys={"openai": CANARY}, key_policy="byok_then_house"), "byok_then_house"),
        (Caller(key_policy="byok_only"), "byok_only"),
    ],
)
def test_the_policy_follows_from_the_keys_unless_it_is_chosen(caller: Caller, policy: str) -> None:
    assert caller.effective_key_policy == policy


def test_a_framework_may_look_at_how_the_caller_is_asked_for() -> None:
    assert not inspect.signature(current_caller).parameters


def test_a_caller_never_shows_a_key() -> None:
    caller = Caller(user_id="u1", keys={"openai": CANARY})

    assert CANARY not in f"{caller!r} {caller} {caller.model_dump()} {caller.model_dump_json()}"


@pytest.mark.parametrize("key", [f"{CANARY}\nX-Evil: 1", f"{CANARY} two", f"{CANARY}é", f"{CANARY}\x00"])
def test_what_no_key_holds_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Caller(keys={"openai": key})

    assert "the key for openai holds characters that no key has" in str(caught.value)
    assert CANARY not in str(caught.value)


def test_a_caller_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Caller().user_id = "u2"  # type: ignore[misc]


def test_a_call_without_a_caller_is_the_houses() -> None:
    assert current_caller() is HOUSE


def test_a_caller_holds_for_its_context_alone() -> None:
    with use_caller(Caller(user_id="outer")), use_caller(Caller(user_id="inner")):
        assert current_caller().user_id == "inner"

    assert current_caller() is HOUSE


async def test_tasks_inherit_their_makers_caller() -> None:
    async def ask() -> str | None:
        await asyncio.sleep(0)
        return current_caller().user_id

    with use_caller(Caller(user_id="u1")):
        first = asyncio.create_task(ask())
    with use_caller(Caller(user_id="u2")):
        second = asyncio.create_task(ask())

    assert [await first, await second] == ["u1", "u2"]


def test_a_thread_has_the_caller_of_the_context_it_was_given() -> None:
    seen: list[str | None] = []

    with use_caller(Caller(user_id="u1")):
        context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(lambda: seen.append(current_caller().user_id),))
    thread.start()
    thread.join()

    assert seen == ["u1"]


class TestOnABareThread:
    """A thread that was given no context knows nobody: what a model does there depends on where it was made."""

    @pytest.fixture
    def strict(self, provider: LoopbackProvider) -> Iterator[Patchbay]:
        table = Table(text=loopback_table(provider, {"f": "openai:gpt-6-luna"}), environ=HOUSE_KEYS)
        with use(Patchbay(table, require_caller=True)) as patchbay:
            yield patchbay
            patchbay.close()

    @pytest.mark.usefixtures("patchbay")
    def test_a_model_that_was_made_for_a_caller_keeps_them(self, provider: LoopbackProvider) -> None:
        with ThreadPoolExecutor(1) as pool, use_caller(Caller(keys={"openai": CANARY})):
            pool.submit(get_llm("over_openai").invoke, "hi").result()

        assert [request.key for request in provider.requests] == [CANARY]

    @pytest.mark.usefixtures("patchbay")
    def test_a_model_that_is_made_there_is_the_houses(self, provider: LoopbackProvider) -> None:
        with ThreadPoolExecutor(1) as pool, use_caller(Caller(keys={"openai": CANARY})):
            pool.submit(lambda: get_llm("over_openai").invoke("hi")).result()

        assert [request.key for request in provider.requests] == [HOUSE_KEYS["LOOPBACK_OPENAI_KEY"]]

    @pytest.mark.usefixtures("strict")
    def test_the_call_is_refused_where_somebody_has_to_be_named(self, provider: LoopbackProvider) -> None:
        with ThreadPoolExecutor(1) as pool, use_caller(Caller(keys={"openai": CANARY})):
            asked = pool.submit(lambda: get_llm("f").invoke("hi"))

            with pytest.raises(MissingCallerError, match="on nobody's behalf"):
                asked.result()

        assert provider.requests == ()

    @pytest.mark.usefixtures("strict")
    def test_it_is_made_where_somebody_is_named(self, provider: LoopbackProvider) -> None:
        with carrying(ThreadPoolExecutor(1)) as pool:
            for caller in (Caller(keys={"openai": CANARY}), Caller(user_id="nightly")):
                with use_caller(caller):
                    pool.submit(lambda: get_llm("f").invoke("hi")).result()

        assert [request.key for request in provider.requests] == [CANARY, HOUSE_KEYS["LOOPBACK_OPENAI_KEY"]]


def who(*_: object) -> str | None:
    return current_caller().user_id


class TestCarrying:
    """An executor whose threads work on behalf of whoever gives them work."""

    def test_work_has_the_caller_that_submitted_it(self) -> None:
        with carrying(ThreadPoolExecutor(1)) as pool:
            with use_caller(Caller(user_id="u1")):
                first = pool.submit(who)
            with use_caller(Caller(user_id="u2")):
                second = list(pool.map(who, range(2)))
            last = pool.submit(who)

        assert [first.result(), *second, last.result()] == ["u1", "u2", "u2", None]

    async def test_a_loop_gives_it_work(self) -> None:
        with carrying(ThreadPoolExecutor(1)) as pool, use_caller(Caller(user_id="u1")):
            assert await asyncio.get_running_loop().run_in_executor(pool, who) == "u1"

    def test_a_plain_executor_passes_no_caller_on(self) -> None:
        with ThreadPoolExecutor(1) as pool, use_caller(Caller(user_id="u1")):
            assert pool.submit(current_caller).result() is HOUSE

    def test_what_it_sets_in_its_context_is_not_the_next_ones(self) -> None:
        def become(user: str) -> None:
            use_caller(Caller(user_id=user)).__enter__()

        with carrying(ThreadPoolExecutor(1)) as pool:
            pool.submit(become, "u1").result()

            assert pool.submit(who).result() is None

    def test_a_process_cannot_carry(self) -> None:
        with carrying(ProcessPoolExecutor(1)) as pool, pytest.raises(TypeError):
            pool.submit(who).result()


class TestWithoutCaller:
    """What outlives a call is made where nobody is the caller."""

    async def test_the_work_has_no_caller_and_the_awaiting_task_has(self) -> None:
        async def work() -> str | None:
            await asyncio.sleep(0)
            return who()

        with use_caller(Caller(user_id="u1")):
            assert await await_without_caller(work()) is None
            assert who() == "u1"

    async def test_the_rest_of_the_context_is_there(self) -> None:
        trace = contextvars.ContextVar("trace", default="none")
        trace.set("t1")

        async def work() -> str:
            return trace.get()

        assert await await_without_caller(work()) == "t1"

    async def test_the_work_is_cancelled_with_the_awaiting_task(self) -> None:
        seen: list[str] = []

        async def work() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        task = asyncio.create_task(_awaiting(work()))
        await asyncio.sleep(0)
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["cancelled"]

    async def test_errors_and_time_outs_pass(self) -> None:
        async def fail() -> None:
            raise LookupError

        with pytest.raises(LookupError):
            await await_without_caller(fail())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await await_without_caller(asyncio.sleep(60))


async def _awaiting(work: Coroutine[Any, Any, None]) -> None:
    await await_without_caller(work)
