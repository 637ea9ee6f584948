"""What the HTTP edge adds to the calls underneath: processor time of the server as ratios within one run, and the wait for a first byte.

    PYTHONPATH=. .venv/bin/python -m benchmarks.served    # or: make served; with words, only what has one of them in its name

Takes some minutes. Prints a table in Markdown. Exit code 1 if a gate is missed three times running. The server is the one that
is shipped, in a process of its own, with a ledger and a database on the disk; the bare calls are made in that process, too.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from backend.conversations.sample import SAMPLE

from .served_worker import table as table_of
from .tables import table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

ROUNDS, CHANCES = 5, 3
CROWD: Final = 16
LATENCY_MS, PACE_MS = 30, 4
_BODY: Final = SAMPLE.model_dump_json().encode()
_SAID: Final = [
    {"role": "system", "content": "You answer questions." * 10},
    {"role": "user", "content": SAMPLE.render().text},
]
_WIRES: Final[Mapping[str, Mapping[str, Any]]] = {
    "/v1/chat/completions": {"messages": _SAID},
    "/v1/responses": {"input": _SAID, "max_tokens": None},
    "/v1/messages": {"messages": _SAID[1:]},
}


class Answer(NamedTuple):
    """One answer, and when its first piece of text came."""

    status: int
    body: bytes
    first_at: float


class Client:
    """One connection to the server, kept open, and opened anew when the server has closed it meanwhile."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        self._reader, self._writer = reader, writer
        self._port = writer.get_extra_info("peername")[1]
        self._head = f"host: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n"

    @classmethod
    async def connected(cls, port: int, token: str) -> Self:
        """A client of the server at ``port``."""
        return cls(*await asyncio.open_connection("127.0.0.1", port), token)

    async def ask(self, method: str, path: str, body: bytes = b"") -> Answer:
        """Send a request, and read the whole answer.

        Raises:
            RuntimeError: It failed.
        """
        if self._reader.at_eof():
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = f"{method} {path} HTTP/1.1\r\n{self._head}content-length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        start = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status = int(start.split(b" ", 2)[1])
        answer = await (self._chunks() if b"chunked" in start else self._whole(start))
        if status >= 300:  # noqa: PLR2004
            raise RuntimeError(f"{method} {path}: {status} {answer[0]!r}")
        return Answer(status, *answer)

    async def _whole(self, start: bytes) -> tuple[bytes, float]:
        length = int(start.split(b"content-length:")[1].split(b"\r\n")[0])
        return await self._reader.readexactly(length), time.monotonic()

    async def _chunks(self) -> tuple[bytes, float]:
        body, first_at = b"", 0.0
        while size := int(await self._reader.readline(), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
            first_at = first_at or time.monotonic()
        await self._reader.readline()
        return body, first_at


class Server:
    """The server's process, and its provider's."""

    def __init__(self, process: subprocess.Popen[str], provider_port: int) -> None:
        self._process = process
        self.provider_port = provider_port
        port, self.token = self._told().split()
        self.port = int(port)

    def cpu(self) -> float:
        """Processor time so far, in seconds."""
        return float(self.command("cpu"))

    def command(self, words: str) -> str:
        """What it says to ``words``."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        self._process.stdin.write(f"{words}\n")
        self._process.stdin.flush()
        return self._told()

    def _told(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        return self._process.stdout.readline().strip()


@contextmanager
def _child(*arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.served_worker", *arguments]
    environ = {**os.environ, **variables}  # noqa: TID251 - handed on, not read
    with subprocess.Popen(  # noqa: S603 - ourselves
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
    ) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None  # noqa: S101 - for the type checker
            process.stdin.close()


@contextmanager
def started() -> Iterator[Server]:
    """A server, ended at the end."""
    with tempfile.TemporaryDirectory() as folder, _child("provider") as provider:
        assert provider.stdout is not None  # noqa: S101 - for the type checker
        port = int(provider.stdout.readline())
        path = Path(folder, "llm.toml")
        path.write_text(table_of(port))
        with _child("server", folder, LLM_CONFIG=str(path), HOUSE_KEY="sk-of-the-house") as process:
            yield Server(process, port)


# What is measured -----------------------------------------------------------------------------------------------------


class Found(NamedTuple):
    """What one measurement says: what is held against the gate, and the figures behind it."""

    figure: float
    told: str


class Gate(NamedTuple):
    """One promise: what is measured must not exceed ``most``, a ratio, or milliseconds where ``unit`` says so."""

    what: str
    most: float
    measure: Callable[[Server, Client], Awaitable[Found]]
    unit: str = ""


async def _cost(server: Server, work: Callable[[], Awaitable[object]], count: int) -> float:
    """Processor time of the server for each of ``count`` requests."""
    before = await asyncio.to_thread(server.cpu)
    for _ in range(count):
        await work()
    return (await asyncio.to_thread(server.cpu) - before) / count


def _beside(
    bare: str, count: int, ask: Callable[[Client], Callable[[], Awaitable[object]]]
) -> Callable[[Server, Client], Awaitable[Found]]:
    """Requests beside the bare calls underneath them, in turns."""

    async def measure(server: Server, client: Client) -> Found:
        served, alone = [], []
        for _ in range(ROUNDS):
            alone.append(float(await asyncio.to_thread(server.command, f"{bare} {count}")))
            served.append(await _cost(server, ask(client), count))
        ratio = median(mine / theirs for mine, theirs in zip(served, alone, strict=True))
        return Found(ratio, f"{min(served) * 1e3:.2f} ms : {min(alone) * 1e3:.2f} ms")

    return measure


def _alone(path: str, count: int = 40) -> Callable[[Server, Client], Awaitable[Found]]:
    """Processor time of ``GET path``."""

    async def measure(server: Server, client: Client) -> Found:
        costs = [await _cost(server, lambda: client.ask("GET", path), count) * 1e3 for _ in range(ROUNDS)]
        return Found(min(costs), f"median {median(costs):.2f} ms")

    return measure


def _question(conversation: str) -> bytes:
    return json.dumps({"conversation_id": conversation, "question": "When do we go live?"}).encode()


async def _first_byte(server: Server, client: Client) -> Found:
    """From the provider's first byte to the client's, with `CROWD` streams at a time."""
    body = _question(await _made(client))
    clients = [await Client.connected(server.port, server.token) for _ in range(CROWD)]
    settings = Client(*await asyncio.open_connection("127.0.0.1", server.provider_port), "")
    await settings.ask("GET", f"/settings?latency={LATENCY_MS}&pace={PACE_MS}")
    waits = []
    for number in range(ROUNDS + 1):
        answers = await asyncio.gather(*(client.ask("POST", "/v1/chat", body) for client in clients))
        if number:
            waits += [answer.first_at - _sent_at(answer.body) for answer in answers]
    await settings.ask("GET", "/settings?latency=0&pace=0")
    waits.sort()
    return Found(median(waits) * 1e3, f"slowest of {len(waits)}: {waits[-1] * 1e3:.1f} ms")


def _sent_at(body: bytes) -> float:
    """When the provider sent its first chunk, as it says there."""
    data = body.split(b"data: ", 1)[1].split(b"\n", 1)[0]
    return float(json.loads(data)["text"].split()[0])


async def _made(client: Client) -> str:
    """The id of a new conversation."""
    return str(json.loads((await client.ask("POST", "/v1/conversations", _BODY)).body)["id"])


def _over(path: str, body: Mapping[str, Any]) -> Callable[[Server, Client], Awaitable[Found]]:
    """The same question over a wire."""
    asked = json.dumps({"model": "chat_responses", "stream": True, "max_tokens": 100, **body}).encode()
    return _beside("chat", 20, lambda client: lambda: client.ask("POST", path, asked))


def gates(conversation: str) -> tuple[Gate, ...]:
    """All of them; chats are about ``conversation``."""
    question = _question(conversation)
    chat = _beside("chat", 20, lambda client: lambda: client.ask("POST", "/v1/chat", question))
    made = _beside("conversation", 40, lambda client: lambda: client.ask("POST", "/v1/conversations", _BODY))
    return (
        Gate("chat of 50 chunks : `astream`", 2.5, chat),
        *(
            Gate(f"the same over `{path}` : `astream`", 2.5, _over(path, body))
            for path, body in _WIRES.items()
        ),
        Gate("conversation : its calls", 1.5, made),
        Gate("`GET /v1/keys`", 3.0, _alone("/v1/keys"), "ms"),
        Gate("`GET /v1/llm/explain/chat_responses`", 3.0, _alone("/v1/llm/explain/chat_responses"), "ms"),
        Gate(f"first byte after the provider's, {CROWD} streams at a time", 10.0, _first_byte, "ms"),
    )


async def judged(gate: Gate, server: Server, client: Client) -> Found:
    """The best of its measurements, of which there are more only while it is missed."""
    found = await gate.measure(server, client)
    for _ in range(CHANCES - 1):
        if found.figure <= gate.most:
            break
        found = min(found, await gate.measure(server, client))
    return found


async def measured(server: Server, wanted: list[str]) -> int:
    """Judge every gate, print, and say how many are missed."""
    client = await Client.connected(server.port, server.token)
    rows, missed = [], 0
    for gate in gates(await _made(client)):
        if wanted and not any(word in gate.what for word in wanted):
            continue
        found = await judged(gate, server, client)
        missed += found.figure > gate.most
        word = "ok" if found.figure <= gate.most else "**missed**"
        rows.append(
            (
                gate.what,
                f"{found.figure:.2f} {gate.unit}".strip(),
                f"<= {gate.most:g} {gate.unit}".strip(),
                word,
                found.told,
            )
        )
        print(*rows[-1], sep="  ", file=sys.stderr, flush=True)
    print(table(("what", "measured", "gate", "", "here and now"), rows))
    return missed


def main(wanted: list[str]) -> int:
    """Measure, print, and say whether all gates are kept."""
    with started() as server:
        return int(bool(asyncio.run(measured(server, wanted))))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
