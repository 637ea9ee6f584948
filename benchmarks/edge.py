"""What strangers and users can cost the server, by what they send: processor time, memory, and how long health waits.

    PYTHONPATH=. .venv/bin/python -m benchmarks.edge

Takes about a minute. Prints a table in Markdown. Exit code 1 if a gate is missed. The server is a process of its own,
on a database of its own; it has no provider, so that a valid transcript costs what it costs us. Linux only: read off /proc.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import httpx
import uvicorn

from backend.main import create_app
from backend.protocol import make_uvicorn_config
from backend.settings import Settings
from backend.utils.llm import Patchbay, Table

from .tables import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CPU_OF_STRANGERS, CPU_OF_USERS = 0.05, 0.5
"""Seconds of the server's processor time for one request, without a token and with one."""
MEMORY, HEALTH = 64, 0.3
"""Megabytes that one request may add at its peak, and seconds that health may wait meanwhile."""

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_SEGMENT: Final = '{"text":"a","start":0,"end":0}'
_SPOKEN: Final = '{"text":"' + "words " * 8 + '","start":1.5,"end":2.25,"speaker":"Ann"}'
_HEAD: Final = '{"started_at":"2026-01-01T00:00:00Z","segments":['


class Attack(NamedTuple):
    """One request, as bytes."""

    name: str
    payload: Callable[[], bytes]
    has_token: bool = True


class Cost(NamedTuple):
    """What it cost."""

    status: str
    cpu: float
    megabytes: float
    health: float

    def is_within(self, *, has_token: bool) -> bool:
        """Whether every gate is kept."""
        cpu = CPU_OF_USERS if has_token else CPU_OF_STRANGERS
        return self.cpu <= cpu and self.megabytes <= MEMORY and self.health <= HEALTH


def _request(
    body: str | bytes, path: str = "/v1/conversations", method: str = "POST", kind: str = "application/json"
) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {len(content)}\r\nTOKEN\r\n"
    return head.encode() + content


def _chunked(size: int, count: int) -> bytes:
    head = b"POST /v1/conversations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n"
    return head + b"TOKEN\r\n" + b"%x\r\n%s\r\n" % (size, b" " * size) * count + b"0\r\n\r\n"


def _keys(count: int) -> str:
    return ",".join(f'"{i:x}":0' for i in range(count))


def _many(what: str, count: int) -> str:
    return ",".join([what] * count)


def _of_text(text: str) -> str:
    return f'{{"text":"{text}","start":0,"end":0}}'


def _boxes(depth: int) -> str:
    inner = _boxes(depth - 1) if depth else "0"
    return "{" + ",".join(f'"{i}":{inner}' for i in range(16)) + "}"


SHAPES: Final[dict[str, Callable[[], bytes]]] = {
    "16 MB of []": lambda: _request("[" + _many("[]", 5_500_000) + "]"),
    "16 MB of distinct keys": lambda: _request("{" + _keys(1_500_000) + "}"),
    "16 MB to GET /metrics": lambda: _request(" " * 16_000_000, "/metrics", "GET"),
    "16 MB to no route": lambda: _request(" " * 16_000_000, "/nowhere"),
    "16 MB to PATCH": lambda: _request(" " * 16_000_000, "/v1/keys/openai", "PATCH"),
    "16 MB to POST /login": lambda: _request(" " * 16_000_000, "/login"),
    "16 KB to /readyz": lambda: _request(" " * 16_000, "/readyz", "GET"),
    "5 MB of []": lambda: _request(_HEAD + _many("[]", 1_700_000) + "]}"),
    "290,000 values": lambda: _request(_HEAD + _many("[]", 290_000) + "]}"),
    "290,000 values beside": lambda: _request('{"x":[' + _many("[]", 145_000) + "]}"),
    "290,000 numbers beside": lambda: _request('{"x":[' + _many("1e-300", 290_000) + "]}"),
    "290,000 strings beside": lambda: _request('{"x":[' + _many('"\\u00e9 and so"', 290_000) + "]}"),
    "objects of 60 keys beside": lambda: _request('{"x":[' + _many("{" + _keys(60) + "}", 4_500) + "]}"),
    "58,000 objects as a date": lambda: _request(
        '{"started_at":[' + _many('{"a":0,"b":0,"c":0,"d":0}', 58_000) + "]}"
    ),
    "objects in objects": lambda: _request('{"x":' + _boxes(3) + "}"),
    "58,000 segments beside": lambda: _request('{"x":[' + _many('{"a":0,"b":0,"c":0,"d":0}', 58_000) + "]}"),
    "50,000 x {}": lambda: _request(_HEAD + _many("{}", 50_000) + "]}"),
    "50,000 x 30 unknown keys": lambda: _request(_HEAD + _many("{" + _keys(30) + "}", 9_000) + "]}"),
    "300,000 unknown keys": lambda: _request("{" + _keys(300_000) + "}"),
    "300,000 times one key": lambda: _request("{" + _many('"segments":0', 300_000) + "}"),
    "PUT a key, 300,000 more": lambda: _request("{" + _keys(300_000) + "}", "/v1/keys/openai", "PUT"),
    "PUT a key, 15 KB": lambda: _request("{" + _keys(1_500) + "}", "/v1/keys/openai", "PUT"),
    "chat, 300,000 keys": lambda: _request("{" + _keys(300_000) + "}", "/v1/chat"),
    "nested 5 million deep": lambda: _request("[" * 5_000_000),
    "nested and closed": lambda: _request("[]" * 2_500_000),
    "5 MB of one number": lambda: _request(_HEAD + '{"start":' + "9" * 5_000_000 + "}]}"),
    "5 MB of one fraction": lambda: _request(_HEAD + '{"start":0.' + "9" * 5_000_000 + "}]}"),
    "5 MB of backslashes": lambda: _request('{"x":"' + "\\" * 5_000_000 + '"}'),
    "5 MB of \\u0000": lambda: _request('{"x":"' + "\\u0000" * 850_000 + '"}'),
    "5 MB of quotes": lambda: _request('"' * 5_000_000),
    "5 MB of colons": lambda: _request(":" * 5_000_000),
    "5 MB of one key": lambda: _request('{"' + "k" * 5_000_000 + '":1}'),
    "the last segment is wrong": lambda: _request(_HEAD + _many(_SEGMENT, 49_999) + ",{}]}"),
    "gzip": lambda: _request(b"\x1f\x8b" + b"0" * 5_000_000),
    "a form": lambda: _request("a=b&" * 1_250_000, kind="application/x-www-form-urlencoded"),
    "multipart": lambda: _request("--x\r\n" * 1_000_000, kind="multipart/form-data; boundary=x"),
    "16 MB in chunks of a byte": lambda: _chunked(1, 2_600_000),
    "8,000 chunks of 640 bytes": lambda: _chunked(640, 8_000),
    "a head of 250 KB": lambda: b"GET / HTTP/1.1\r\nTOKEN" + b"a:\r\n" * 62_000 + b"\r\n",
    "a WebSocket": lambda: (
        b"GET / HTTP/1.1\r\nhost: x\r\nTOKENconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    ),
    "valid: 50,000 short segments": lambda: _request(_HEAD + _many(_SEGMENT, 50_000) + "]}"),
    "a transcript without its date": lambda: _request('{"segments":[' + _many(_SPOKEN, 50_000) + "]}"),
    "a transcript cut off": lambda: _request(_HEAD + _many(_SPOKEN, 50_000)),
    "a transcript cut off at the end": lambda: _request(_HEAD + _many(_SPOKEN, 50_000) + "]"),
    "50,001 segments": lambda: _request(_HEAD + _many(_SEGMENT, 50_001) + "]}"),
    "290,000 strings as segments": lambda: _request(_HEAD + _many('"\\u00e9 and so"', 290_000) + "]}"),
    "290,000 numbers as segments": lambda: _request(_HEAD + _many("1e-300", 290_000) + "]}"),
    "valid: 50,000 segments, 5 MB": lambda: _request(_HEAD + _many(_SPOKEN, 50_000) + "]}"),
    "valid: every speaker another": lambda: _request(
        _HEAD
        + ",".join(f'{{"text":"I call 5 of us.","start":1,"end":2,"speaker":"S{n}"}}' for n in range(50_000))
        + "]}"
    ),
    "valid: one segment of short words": lambda: _request(_HEAD + _of_text("aa " * 1_700_000) + "]}"),
    "valid: one segment of promises": lambda: _request(_HEAD + _of_text("I will send it. " * 320_000) + "]}"),
    "valid: one segment of breaks": lambda: _request(_HEAD + _of_text("a\\n" * 1_700_000) + "]}"),
    "valid: one segment of Chinese": lambda: _request(
        _HEAD + _of_text("我明天会把合同发给你" * 170_000) + "]}"
    ),
    "valid: one segment, one letter wide": lambda: _request(_HEAD + _of_text("a" * 5_200_000 + "🜁") + "]}"),
}
ATTACKS: Final = [Attack(name, payload, who) for who in (False, True) for name, payload in SHAPES.items()]


class Server:
    """A server in a process of its own, looked at from outside."""

    def __init__(self, port: int, token: str, pid: int) -> None:
        self.port = port
        self._token = f"authorization: Bearer {token}\r\n".encode()
        self._pid = pid

    def cost_of(self, attack: Attack) -> Cost:
        """Send it, and see."""
        self._give_back()
        payload = attack.payload().replace(b"TOKEN", self._token if attack.has_token else b"", 1)
        with _waits(self.port) as waits:
            before, cpu = self._megabytes(anew=True), self._cpu()
            status = _sent(self.port, payload)
            time.sleep(0.3)  # noqa: TID251 - until what goes on after the answer is over
            return Cost(status, self._cpu() - cpu, self._megabytes() - before, max(waits))

    def _give_back(self) -> None:
        """Let go of what earlier requests left: memory that is free but not given back would hide what the next one takes."""
        os.kill(self._pid, signal.SIGUSR1)
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            connection.recv(65536)  # after the signal

    def _cpu(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def _megabytes(self, *, anew: bool = False) -> float:
        """The most that it ever held; ``anew``, from now on."""
        if anew:
            Path(f"/proc/{self._pid}/clear_refs").write_text("5")
        lines = Path(f"/proc/{self._pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _sent(port: int, payload: bytes) -> str:
    """The status of the answer; how it broke, if none came."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with suppress(OSError):
            connection.sendall(payload)
        try:
            return connection.recv(65536).split(b" ", 2)[1].decode()
        except (OSError, IndexError) as error:
            return type(error).__name__


@contextmanager
def _waits(port: int) -> Iterator[list[float]]:
    """How long each `GET /healthz` takes meanwhile."""
    found: list[float] = [0.0]
    is_over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            while not is_over.wait(0.02):
                begun = time.perf_counter()
                client.get("/healthz")
                found.append(time.perf_counter() - begun)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield found
    finally:
        is_over.set()
        asking.join()


@contextmanager
def started() -> Iterator[Server]:
    """A server, ended at the end."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.edge", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ourselves
            assert process.stdout is not None  # noqa: S101 - for the type checker
            told = json.loads(process.stdout.readline())
            try:
                yield Server(told["port"], told["token"], process.pid)
            finally:
                process.terminate()


def _give_back() -> None:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


async def serve(folder: Path) -> None:
    """Be that server."""
    tokens: list[str] = []
    patchbay = Patchbay(Table(environ={}), require_caller=True)
    app = create_app(Settings(_env_file=None, data_dir=folder), patchbay=patchbay, announce=tokens.append)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _give_back)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(make_uvicorn_config(app))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.02)
    print(json.dumps({"port": listener.getsockname()[1], "token": tokens[0]}), flush=True)
    await serving


def main(wanted: list[str]) -> int:
    """Measure, print, and say whether all gates are kept."""
    attacks = [attack for attack in ATTACKS if not wanted or any(word in attack.name for word in wanted)]
    missed = 0
    rows = []
    with started() as server:
        for _ in range(10):  # until everything is imported
            server.cost_of(Attack("warm", SHAPES["50,000 x {}"]))
        for attack in attacks:
            cost = server.cost_of(attack)
            kept = cost.is_within(has_token=attack.has_token)
            missed += not kept
            rows.append(
                (
                    attack.name,
                    "user" if attack.has_token else "nobody",
                    cost.status,
                    f"{cost.cpu:.2f} s",
                    f"{cost.megabytes:.0f} MB",
                    f"{cost.health:.3f} s",
                    "ok" if kept else "**missed**",
                )
            )
            print(*rows[-1], sep="  ", file=sys.stderr, flush=True)
    print(table(("what is sent", "by", "answer", "processor", "memory", "health waited", ""), rows))
    return 1 if missed else 0


if __name__ == "__main__":
    if len(sys.argv) > 1 and Path(sys.argv[1]).is_dir():
        asyncio.run(serve(Path(sys.argv[1])))
    else:
        sys.exit(main(sys.argv[1:]))
