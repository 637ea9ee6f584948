"""Nobody has the event loop for long: what has come already is read turn by turn, what is long in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, field_validator

from backend.utils.llm import Patchbay, Table
from backend.utils.llm.clock import Time
from backend.utils.llm.errors import StreamInterruptedError
from backend.utils.llm.providers import answer_stream, chat_client
from backend.utils.llm.testing.patchbays import HOUSE_KEYS
from backend.utils.llm.testing.virtual_time import VirtualTime
from backend.utils.llm.transport import LONG_BODY, AsyncResponse
from backend.utils.llm.transport.loop_pool import LoopConnectionPool
from backend.utils.llm.transport.response import TURN_SECONDS

from .tables import table_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from langchain_core.language_models import BaseChatModel

    from backend.tests.fakes.strangers import Stranger
    from backend.utils.llm.transport import Request, Ticket

    Ask = Callable[..., BaseChatModel]

CHUNKS = 200
LONG = "word " * LONG_BODY
SSE = {"Content-Type": "text/event-stream"}
JSON = {"Content-Type": "application/json"}
END = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def event(text: str) -> bytes:
    return b"data: %s\n\n" % json.dumps({"choices": [{"delta": {"content": text}}]}).encode()


def whole(text: str) -> bytes:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice]}).encode()


async def turns_beside(work: Awaitable[object]) -> int:
    """How often another task had its turn until ``work`` was done."""
    turns = 0

    async def another() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(another())
    await work
    beside.cancel()
    return turns


async def read(model: BaseChatModel) -> str:
    return "".join([chunk.text async for chunk in model.astream("hi")])


@pytest.fixture
async def ask(server: Stranger) -> AsyncIterator[Ask]:
    """Patchbays whose feature ``f`` is answered with a body that comes at once."""
    async with contextlib.AsyncExitStack() as made:

        def ask(body: bytes, headers: dict[str, str], time: Time | None = None) -> BaseChatModel:
            server.reply = 200, headers, [body]
            table = Table(text=table_at(server, "openai"), environ=HOUSE_KEYS)
            patchbay = Patchbay(table, time=time)
            made.push_async_callback(patchbay.aclose)
            return patchbay.get_llm("f")

        yield ask


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads in which JSON of an answer was read, in order."""
    found: list[int] = []

    def noted(read: Callable[..., Any]) -> Callable[..., Any]:
        def reading(*args: Any) -> Any:
            found.append(threading.get_ident())
            return read(*args)

        return reading

    for name in ("parse_json_object", "parse_json_objects"):
        for module in (answer_stream, chat_client):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, noted(getattr(module, name)))
    return found


def in_a_hurry() -> Time:
    """A time in which a turn is over whenever somebody looks."""
    looks = itertools.count()
    return Time(clock=lambda: next(looks) * 2 * TURN_SECONDS)


class Come:
    """A body all of which is there."""

    def __init__(self, body: bytes) -> None:
        self._parts = [body, b""]

    async def readany(self) -> bytes:
        return self._parts.pop(0)


@pytest.fixture
def _come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer has come before it is asked for: nothing is ever waited for."""

    async def send(_: LoopConnectionPool, __: Request, ticket: Ticket) -> AsyncResponse:
        body: Any = Come(event("a") * CHUNKS + END)
        return AsyncResponse(ticket, 200, {}, body, lambda: None)

    monkeypatch.setattr(LoopConnectionPool, "send", send)


@pytest.mark.usefixtures("_come")
@pytest.mark.parametrize(
    ("time", "least", "most"), [(in_a_hurry(), CHUNKS, 2 * CHUNKS), (VirtualTime().time, 0, 5)]
)
async def test_a_stream_that_has_come_already_gives_way_once_its_turn_is_over_and_not_before(
    ask: Ask, time: Time, least: int, most: int
) -> None:
    model = ask(b"", SSE, time)
    await read(model)  # builds the client, in a thread

    assert least <= await turns_beside(read(model)) <= most


async def test_a_long_answer_is_read_in_a_thread(ask: Ask, readers: list[int]) -> None:
    assert (await ask(whole(LONG), JSON).ainvoke("hi")).text == LONG

    assert threading.get_ident() not in readers


async def test_a_short_answer_is_read_where_it_comes(ask: Ask, readers: list[int]) -> None:
    await ask(whole("short"), JSON).ainvoke("hi")

    assert readers == [threading.get_ident()]


@pytest.mark.parametrize(
    ("body", "headers"), [(event(LONG) + END, SSE), (whole(LONG), JSON)], ids=["event", "document"]
)
async def test_what_is_long_of_a_stream_is_read_in_a_thread(
    ask: Ask, readers: list[int], body: bytes, headers: dict[str, str]
) -> None:
    assert await read(ask(body, headers)) == LONG

    assert readers[0] != threading.get_ident()


async def test_what_came_before_a_long_event_that_is_broken_is_handed_on(ask: Ask) -> None:
    with pytest.raises(StreamInterruptedError) as caught:
        await read(ask(event("before") + b"data: " + LONG.encode() + b"\n\n", SSE))

    assert caught.value.partial == "before"


class Verdict(BaseModel):
    good: bool

    @field_validator("good")
    @classmethod
    def note(cls, value: object) -> object:
        TESTED_IN.append(threading.get_ident())
        return value


TESTED_IN: list[int] = []


@pytest.mark.parametrize(("thoughts", "is_here"), [("", True), (LONG, False)], ids=["short", "long"])
async def test_a_long_answer_is_searched_for_its_object_in_a_thread(
    ask: Ask, thoughts: str, *, is_here: bool
) -> None:
    TESTED_IN.clear()

    found = await ask(whole(thoughts + '{"good": true}'), JSON).with_structured_output(Verdict).ainvoke("hi")

    assert found == Verdict(good=True)
    assert (threading.get_ident() in TESTED_IN[:1]) == is_here
