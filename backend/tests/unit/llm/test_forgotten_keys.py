"""Once a call is over nothing in the process holds its caller's keys, whatever became of it.

The provider is in a process of its own: one in this process would remember what it was sent.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing, contextmanager, suppress
from itertools import islice, product
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from backend.tests.fakes.heap import holders_of
from backend.tests.fakes.hedging import learn
from backend.utils.llm import Caller, LLMError, Patchbay, Table, get_llm, use, use_caller
from benchmarks.soak_mix import HOUSE_KEYS, PROVIDERS, table
from benchmarks.witness import Witness

from .test_hedged_calls import NEVER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Call = Callable[[str, str], Awaitable[Any]]

USERS = ["u1", "bad-u1"]
"""One whom the provider answers, and one whose key it refuses."""
FEATURES = ["ordered", "gemini", "responses", "anthropic"]
FAULTS = [{}, {"a1": "503", "b1": "hang up", "g1": "hang up", "r1": "429", "d1": "503"}]
HEDGED = ["ordered", "gemini"]
"""Two of the features that have a second endpoint to ask."""
SOON = 0.2
ROUNDS = 20
"""By then the first request has been sent, and a slow answer has not begun."""


@pytest.fixture(scope="module")
def witness() -> Iterator[Witness]:
    with Witness() as running:
        yield running


@pytest.fixture
def _patchbay(witness: Witness) -> Iterator[None]:
    with use(Patchbay(Table(text=table(witness.origin, 1), environ=HOUSE_KEYS))) as patchbay:
        yield
        patchbay.close()


async def invoke(feature: str, user: str) -> None:
    await asyncio.to_thread(get_llm(feature).invoke, f"plain #1 for {user}")


async def stream(feature: str, user: str) -> None:
    await asyncio.to_thread(lambda: list(get_llm(feature).stream(f"plain #1 for {user}")))


async def stream_and_leave(feature: str, user: str) -> None:
    await asyncio.to_thread(lambda: list(islice(get_llm(feature).stream(f"long #1 for {user}"), 3)))


async def ainvoke(feature: str, user: str) -> None:
    await get_llm(feature).ainvoke(f"plain #1 for {user}")


async def ainvoke_and_cancel(feature: str, user: str) -> None:
    asking = asyncio.create_task(get_llm(feature).ainvoke(f"slow #1 for {user}"))
    await asyncio.sleep(0.02)
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking


async def astream(feature: str, user: str) -> None:
    async for _ in get_llm(feature).astream(f"plain #1 for {user}"):
        pass


async def astream_and_leave(feature: str, user: str) -> None:
    reading: Any = get_llm(feature).astream(f"long #1 for {user}")
    async with aclosing(reading) as chunks:
        async for _ in chunks:
            break


async def ask(call: Call, feature: str, user: str, mark: str) -> None:
    """On behalf of a caller of whom nobody else knows."""
    keys = {name: SecretStr(f"{name}-{user}.{mark}") for name in PROVIDERS}
    with use_caller(Caller(user_id=user, keys=keys)), suppress(LLMError):
        await call(feature, user)


async def left_of(mark: str) -> list[str]:
    """What still holds it once connections that were left are closed, in the loops' next rounds."""
    found: list[str] = []
    for _ in range(ROUNDS):
        await asyncio.sleep(0.05)
        if not (found := holders_of(mark)):
            break
    return found


@pytest.mark.usefixtures("_patchbay")
@pytest.mark.parametrize(
    "call",
    [invoke, stream, stream_and_leave, ainvoke, ainvoke_and_cancel, astream, astream_and_leave],
    ids=lambda call: call.__name__,
)
async def test_no_key_is_left_when_calls_are_over(witness: Witness, call: Call) -> None:
    mark = secrets.token_hex(8)
    for faults in FAULTS:
        witness.fail(faults)
        calls = [ask(call, feature, user, mark) for feature in FEATURES for user in USERS]
        await asyncio.gather(*calls)

    assert await left_of(mark) == []
    assert witness.counts()["wrong keys"] == 0


@contextmanager
def hedging(witness: Witness, after: float) -> Iterator[None]:
    """A second request goes out beside each that takes longer than that."""
    text = table(witness.origin, 1)
    for feature in HEDGED:
        text = text.replace(f"[features.{feature}]", f"[features.{feature}]\nhedge = true")
    with use(Patchbay(Table(text=text, environ=HOUSE_KEYS))) as patchbay:
        for feature in HEDGED:
            learn(patchbay, after, hedges=len(USERS), feature=feature)
        patchbay.warm_up()
        yield
        patchbay.close()


@pytest.mark.parametrize(
    "call",
    [invoke, stream, stream_and_leave, ainvoke, astream, astream_and_leave],
    ids=lambda call: call.__name__,
)
async def test_no_key_is_left_of_a_call_that_was_hedged(witness: Witness, call: Call) -> None:
    mark, before = secrets.token_hex(8), witness.counts()
    witness.fail({"a1": "slow", "g1": "slow"})
    with hedging(witness, SOON):
        calls = [ask(call, *whose, mark) for whose in product(HEDGED, USERS)]
        await asyncio.gather(*calls)

        assert await left_of(mark) == []
    assert (witness.counts() - before)["requests"] == 2 * len(calls)
    assert witness.counts()["wrong keys"] == 0


async def test_no_key_is_left_when_both_requests_of_a_call_are_given_up(witness: Witness) -> None:
    mark, before = secrets.token_hex(8), witness.counts()
    witness.fail(dict.fromkeys(("a1", "a2", "b1", "g1"), "slow"))
    with hedging(witness, SOON):
        calls = [asyncio.create_task(ask(ainvoke, *whose, mark)) for whose in product(HEDGED, USERS)]
        while (witness.counts() - before)["requests"] < 2 * len(calls):  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.002)
        for one in calls:
            one.cancel()
        await asyncio.wait(calls)

        assert all(one.cancelled() for one in calls)
        del calls, one
        assert await left_of(mark) == []


@pytest.mark.parametrize("call", [ainvoke, astream], ids=lambda call: call.__name__)
async def test_no_key_is_left_when_a_hedge_was_not_needed(witness: Witness, call: Call) -> None:
    """The timer for it was set, and cancelled: behind one that runs, the loop keeps it until its time."""
    mark, before = secrets.token_hex(8), witness.counts()
    witness.fail({})
    asyncio.get_running_loop().call_later(NEVER / 2, str)
    with hedging(witness, NEVER):
        await asyncio.gather(*(ask(call, *whose, mark) for whose in product(HEDGED, USERS)))

        assert await left_of(mark) == []
    assert (witness.counts() - before)["requests"] == len(HEDGED) * len(USERS)
