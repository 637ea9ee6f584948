"""Once a call is over nothing in the process holds its caller's keys, whatever became of it.

The provider is in a process of its own: one in this process would remember what it was sent.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import ExitStack, aclosing, contextmanager, suppress
from itertools import islice, product
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from backend.tests.fakes.heap import holders_of
from backend.tests.fakes.hedging import learn
from backend.utils.llm import Caller, LLMError, Patchbay, Table, use_caller
from benchmarks.soak_mix import HOUSE_KEYS, PROVIDERS, table
from benchmarks.witness import Witness

from .hedged.conftest import NEVER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence

    from langchain_core.language_models import BaseChatModel

    Call = Callable[[BaseChatModel, str], Awaitable[None]]

USERS = ["u1", "bad-u1"]
"""One whom the provider answers, and one whose key it refuses."""
FEATURES = ["ordered", "gemini", "responses", "anthropic"]
FAULTS = [{}, {"a1": "503", "b1": "hang up", "g1": "hang up", "r1": "429", "d1": "503"}]
HEDGED = ["ordered", "gemini"]
"""Two of the features that have a second endpoint to ask."""
SOON = 0.2
"""By then the first request has been sent, and a slow answer has not begun."""
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds before each search."""


@pytest.fixture(scope="module")
def witness() -> Iterator[Witness]:
    with Witness() as running:
        yield running


async def invoke(llm: BaseChatModel, user: str) -> None:
    await asyncio.to_thread(llm.invoke, f"plain #1 for {user}")


async def stream(llm: BaseChatModel, user: str) -> None:
    await asyncio.to_thread(lambda: list(llm.stream(f"plain #1 for {user}")))


async def stream_and_leave(llm: BaseChatModel, user: str) -> None:
    await asyncio.to_thread(lambda: list(islice(llm.stream(f"long #1 for {user}"), 3)))


async def ainvoke(llm: BaseChatModel, user: str) -> None:
    await llm.ainvoke(f"plain #1 for {user}")


async def ainvoke_and_cancel(llm: BaseChatModel, user: str) -> None:
    asking = asyncio.create_task(llm.ainvoke(f"slow #1 for {user}"))
    await asyncio.sleep(0.02)
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking


async def astream(llm: BaseChatModel, user: str) -> None:
    async for _ in llm.astream(f"plain #1 for {user}"):
        pass


async def astream_and_leave(llm: BaseChatModel, user: str) -> None:
    reading: Any = llm.astream(f"long #1 for {user}")
    async with aclosing(reading) as chunks:
        async for _ in chunks:
            break


COMPLETE = [invoke, stream, stream_and_leave, ainvoke, astream, astream_and_leave]
CALLS = [*COMPLETE, ainvoke_and_cancel]


@contextmanager
def patchbays(witness: Witness, calls: Sequence[Call], *hedged: str) -> Iterator[dict[Call, Patchbay]]:
    """A patchbay for each way to call, so that none meets what another's failures taught; those features are hedged."""
    text = table(witness.origin, 1)
    for feature in hedged:
        text = text.replace(f"[features.{feature}]", f"[features.{feature}]\nhedge = true")
    with ExitStack() as stack:
        made = {call: Patchbay(Table(text=text, environ=HOUSE_KEYS)) for call in calls}
        for patchbay in made.values():
            stack.callback(patchbay.close)
        yield made


async def ask(patchbay: Patchbay, call: Call, feature: str, user: str, mark: str) -> None:
    """On behalf of a caller of whom nobody else knows, whose keys name the way to call."""
    user = f"{user}-{call.__name__}"
    keys = {name: SecretStr(f"{name}-{user}.{mark}") for name in PROVIDERS}
    with use_caller(Caller(user_id=user, keys=keys)), suppress(LLMError):
        await call(patchbay.get_llm(feature), user)


def asked(made: dict[Call, Patchbay], features: list[str], mark: str) -> list[Coroutine[Any, Any, None]]:
    """For each user, every one of the features in each way."""
    return [
        ask(patchbay, call, feature, user, mark)
        for call, patchbay in made.items()
        for feature, user in product(features, USERS)
    ]


async def left_of(mark: str) -> list[str]:
    """What still holds it once connections that were left are closed, in the loops' next rounds."""
    found: list[str] = []
    for seconds in PAUSES:
        await asyncio.sleep(seconds)
        if not (found := holders_of(mark)):
            break
    return found


async def test_no_key_is_left_when_calls_are_over(witness: Witness) -> None:
    mark = secrets.token_hex(8)
    with patchbays(witness, CALLS) as made:
        for faults in FAULTS:
            witness.fail(faults)
            await asyncio.gather(*asked(made, FEATURES, mark))

        assert await left_of(mark) == []
    assert witness.counts()["wrong keys"] == 0


@contextmanager
def hedging(witness: Witness, after: float, calls: Sequence[Call]) -> Iterator[dict[Call, Patchbay]]:
    """A second request goes out beside each that takes longer than that."""
    with patchbays(witness, calls, *HEDGED) as made:
        for patchbay in made.values():
            for feature in HEDGED:
                learn(patchbay, after, hedges=len(USERS), feature=feature)
            patchbay.warm_up()
        yield made


async def test_no_key_is_left_of_a_call_that_was_hedged(witness: Witness) -> None:
    mark, before = secrets.token_hex(8), witness.counts()
    witness.fail({"a1": "slow", "g1": "slow"})
    with hedging(witness, SOON, COMPLETE) as made:
        calls = asked(made, HEDGED, mark)
        await asyncio.gather(*calls)

        assert await left_of(mark) == []
    assert (witness.counts() - before)["requests"] == 2 * len(calls)
    assert witness.counts()["wrong keys"] == 0


async def test_no_key_is_left_when_both_requests_of_a_call_are_given_up(witness: Witness) -> None:
    mark, before = secrets.token_hex(8), witness.counts()
    witness.fail(dict.fromkeys(("a1", "a2", "b1", "g1"), "slow"))
    with hedging(witness, SOON, [ainvoke]) as made:
        calls = [asyncio.create_task(call) for call in asked(made, HEDGED, mark)]
        while (witness.counts() - before)["requests"] < 2 * len(calls):  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.002)
        for one in calls:
            one.cancel()
        await asyncio.wait(calls)

        assert all(call.cancelled() for call in calls)
        del calls, one
        assert await left_of(mark) == []


async def test_no_key_is_left_when_a_hedge_was_not_needed(witness: Witness) -> None:
    """The timer for it was set, and cancelled: behind one that runs, the loop keeps it until its time."""
    mark, before = secrets.token_hex(8), witness.counts()
    witness.fail({})
    asyncio.get_running_loop().call_later(NEVER / 2, str)
    with hedging(witness, NEVER, [ainvoke, astream]) as made:
        calls = asked(made, HEDGED, mark)
        await asyncio.gather(*calls)

        assert await left_of(mark) == []
    assert (witness.counts() - before)["requests"] == len(calls)
