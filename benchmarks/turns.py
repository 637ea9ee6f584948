"""How long one piece of work keeps everybody else from the event loop: the dearest turn of each.

    PYTHONPATH=. .venv/bin/python -m benchmarks.turns    # or: make turns; with words, only what has one of them in its name

Takes about half a minute. A watcher has its turn in every round of the loop, and notes the processor time of the loop's thread
since its last one, which no other process can lengthen. Exit code 1 if a round is dearer than the gate. The provider is a thread
that sends each answer at once, so that all of it lies in the buffer.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import socketserver
import sys
import tempfile
import threading
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx2
from pydantic import BaseModel
from typing_extensions import override

from backend.main import create_app
from backend.settings import Settings
from backend.utils.llm import Patchbay, Table
from backend.utils.llm.failures import classify_failure
from backend.utils.llm.observed import ObservedExchange

from .tables import table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Work = Callable[[], Awaitable[object]]

GATE: Final = 5.0
"""Milliseconds."""
ROUNDS: Final = 3
"""Of each; the best counts: collecting garbage, and what runs for the first time, are nobody's work."""
FEATURES: Final = 1_000
TOKEN: Final = "token-of-ann"  # noqa: S105 - of this server only
SEGMENTS: Final = 45_000
_USAGE: Final = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


class Verdict(BaseModel):
    """What a structured answer is."""

    good: bool


def _events(count: int) -> bytes:
    def event(delta: dict[str, str], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk = {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [choice],
        }
        return b"data: %s\n\n" % json.dumps(chunk).encode()

    words = [event({"role": "assistant", "content": f"word{n} "}) for n in range(count)]
    return b"".join([*words, event({}, "stop"), b"data: [DONE]\n\n"])


def _answer(text: str, **extra: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", **extra}
    return json.dumps({"id": "c", "model": "m", "choices": [choice], "usage": _USAGE}).encode()


def _logprobs() -> dict[str, Any]:
    token = {"token": "word", "logprob": -0.5, "bytes": None, "top_logprobs": []}
    return {"logprobs": {"content": [token] * 25_000}}


BODIES: Final[dict[str, Callable[[], bytes]]] = {
    "stream500": lambda: _events(500),
    "stream20k": lambda: _events(20_000),
    "stream_tiny": lambda: b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n' * 5_000 + _events(0),
    "one_event": lambda: _events(1).replace(b"word0 ", b"word " * 4_000_000),
    "whole_text": lambda: _answer("word " * 4_000_000),
    "whole_values": lambda: _answer("word", **_logprobs()),
    "prose": lambda: _answer('I say {"good": 1 ' * 50_000),
    "prose_thoughts": lambda: _answer("<think> </think>" * 62_500),
    "prose_found": lambda: _answer("Well: " + json.dumps({"x": ["y"] * 150_000}) + ' and {"good": true}'),
}


class _Handler(socketserver.StreamRequestHandler):
    @override
    def handle(self) -> None:
        while line := self.rfile.readline():
            case, length = line.split(b"/")[1].decode(), 0
            while (header := self.rfile.readline().strip()) != b"":
                if header.lower().startswith(b"content-length:"):
                    length = int(header.split(b":")[1])
            self.rfile.read(length)
            body = self.server.bodies[case]  # type: ignore[attr-defined]
            kind = b"text/event-stream" if body.startswith(b"data:") else b"application/json"
            head = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n"
            self.wfile.write(head % (kind, len(body)) + body)


class _Provider(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies = {name: body() for name, body in BODIES.items()}
        threading.Thread(target=self.serve_forever, daemon=True).start()


def _table(port: int) -> str:
    providers = "".join(
        f'[providers.{name}]\napi = "openai"\nbase_url = "http://127.0.0.1:{port}/{name}/v1"\napi_key_env = "KEY"\n'
        for name in BODIES
    )
    served = "".join(f'{name} = "{name}:m"\n' for name in BODIES)
    served += "".join(f'f{n} = ["stream500:m", "one_event:m"]\n' for n in range(FEATURES - len(BODIES)))
    return f'{providers}[profiles.premium]\n{served}[profiles.byok]\nextends = "premium"\n'


class Round(NamedTuple):
    """The dearest round of the loop while something was done.

    Attributes:
        cpu: Milliseconds of processor time of the loop's thread.
        wall: Milliseconds that passed, in the longest one. Another thread's code in C may keep the interpreter meanwhile.
        rounds: How many there were.
    """

    cpu: float
    wall: float
    rounds: int


async def _dearest_round(work: Work) -> Round:
    spent: list[tuple[float, float]] = []

    async def watch() -> None:
        before, began = time.thread_time(), time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now, ended = time.thread_time(), time.perf_counter()
            spent.append((now - before, ended - began))
            before, began = now, ended

    gc.collect()
    gc.disable()
    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0)
    try:
        await work()
        await asyncio.sleep(0)
    finally:
        watcher.cancel()
        gc.enable()
    cpu, wall = (max(of_one) * 1e3 for of_one in zip(*spent, strict=True))
    return Round(cpu, wall, len(spent))


async def _read(patchbay: Patchbay, feature: str) -> None:
    async for _ in patchbay.get_llm(feature).astream("Hello"):
        pass


async def _structured(patchbay: Patchbay, feature: str) -> None:
    try:
        await patchbay.get_llm(feature).with_structured_output(Verdict).ainvoke("Hello")
    except Exception as error:
        del error  # most of these answers are none


async def _post(client: httpx2.AsyncClient, transcript: bytes) -> str:
    kind = {"content-type": "application/json"}
    response = await client.post("/v1/conversations", content=transcript, headers=kind)
    return str(response.raise_for_status().headers["location"])


async def _get(client: httpx2.AsyncClient, path: str) -> None:
    (await client.get(path)).raise_for_status()


@asynccontextmanager
async def _edge(patchbay: Patchbay, folder: str) -> AsyncIterator[httpx2.AsyncClient]:
    settings = Settings(_env_file=None, data_dir=Path(folder))
    app = create_app(settings, patchbay=patchbay, announce=lambda _: None, launch_token=TOKEN)
    transport = httpx2.ASGITransport(app)
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(
            transport=transport, base_url="http://test", headers=headers, timeout=120
        ) as client,
    ):
        yield client


def _transcript() -> bytes:
    said = {"text": "words " * 8, "start": 1.5, "end": 2.25, "speaker": "Ann"}
    return json.dumps({"started_at": "2026-01-01T00:00:00Z", "segments": [said] * SEGMENTS}).encode()


async def _classified(sentence: str) -> None:
    body = json.dumps({"error": {"message": sentence * 2_000}})[:65_536].encode()
    classify_failure(
        RuntimeError(), ObservedExchange(status=400, error_body=body), "openai", now=datetime.now(UTC)
    )


async def _qos_info(patchbay: Patchbay) -> None:
    patchbay.get_qos_info()


async def _all(words: list[str]) -> dict[str, Round]:
    port = _Provider().server_address[1]
    served = Patchbay(Table(text=_table(port), environ={"KEY": "house-key-of-benchmarks"}))
    keyless = Patchbay(Table(text=_table(port), environ={}))
    found: dict[str, Round] = {}

    async def measure(name: str, work: Work) -> None:
        if words and not any(word in name for word in words):
            return
        await work()
        seen = [await _dearest_round(work) for _ in range(ROUNDS)]
        found[name] = Round(
            min(item.cpu for item in seen), min(item.wall for item in seen), max(item.rounds for item in seen)
        )
        print(name, found[name], file=sys.stderr)

    for case in ("stream500", "stream20k", "stream_tiny", "one_event"):
        await measure(f"astream of {case}", partial(_read, served, case))
    for case in ("one_event", "whole_text", "whole_values", "stream_tiny"):
        await measure(f"ainvoke of {case}", partial(served.get_llm(case).ainvoke, "Hello"))
    for case in ("prose", "prose_thoughts", "prose_found"):
        await measure(f"structured {case}", partial(_structured, served, case))
    for sentence in ("model not supported ", "tools: not allowed ", "word [0] "):
        await measure(f"classify a long 400: {sentence.strip()}", partial(_classified, sentence))
    transcript = _transcript()
    with tempfile.TemporaryDirectory() as folder:
        async with _edge(served, folder) as client:
            await measure("GET qos", partial(_get, client, "/v1/llm/qos"))
            await measure("GET metrics", partial(_get, client, "/metrics"))
            await measure("GET start page", partial(_get, client, "/"))
    await measure("get_qos_info on the loop", partial(_qos_info, served))
    with tempfile.TemporaryDirectory() as folder:
        async with _edge(keyless, folder) as client:
            place = await _post(client, transcript)
            await measure("POST conversation", partial(_post, client, transcript))
            await measure("GET conversation", partial(_get, client, place))
            await measure("GET conversations", partial(_get, client, "/v1/conversations"))
    await served.aclose()
    await keyless.aclose()
    return found


def main(words: list[str]) -> int:
    """Print the table; 1 if the gate is missed."""
    logging.disable()
    found = asyncio.run(_all(words))
    head = ["what", "its thread, ms", "passed, ms", "rounds", ""]
    rows = [
        [name, f"{item.cpu:.1f}", f"{item.wall:.1f}", str(item.rounds), "" if item.cpu <= GATE else "missed"]
        for name, item in found.items()
    ]
    print(table(head, rows))
    return int(any(item.cpu > GATE for item in found.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
