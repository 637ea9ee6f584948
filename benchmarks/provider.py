"""A provider that costs next to nothing: canned answers over keep-alive connections, in a process of its own.

    python -m benchmarks.provider CORE

It prints its port, and ends with its standard input. Requests are read only as far as it takes to tell which answer
they want. ``/settings?latency=20&pace=2`` makes it answer after 20 ms, and send one event of a stream every 2 ms;
by default a stream is sent at once, in one piece. ``/counts`` tells the requests and connections so far.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qsl, urlsplit

from typing_extensions import override

from .answers import (
    anthropic_answers,
    anthropic_stream,
    gemini_answers,
    gemini_stream,
    of_http,
    openai_answers,
    openai_stream,
)
from .cores import stay_on

if TYPE_CHECKING:
    from collections.abc import Sequence

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_STREAM = re.compile(rb'"stream": ?true')
_OPENAI, _OPENAI_STREAM = openai_answers(), openai_stream()
_GEMINI, _GEMINI_STREAM = gemini_answers(), gemini_stream()
_ANTHROPIC, _ANTHROPIC_STREAM = anthropic_answers(), anthropic_stream()
_STREAMS = {id(parts): b"".join(parts) for parts in (_OPENAI_STREAM, _GEMINI_STREAM, _ANTHROPIC_STREAM)}
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


@dataclass
class State:
    """What all connections share.

    Attributes:
        latency: Seconds before an answer.
        pace: Seconds between the events of a stream; at none it is sent in one piece.
    """

    latency: float = 0.0
    pace: float = 0.0
    requests: int = 0
    connections: int = 0

    def control(self, path: str) -> bytes:
        """Answer ``/counts`` or ``/settings``."""
        asked = urlsplit(path)
        if asked.path == "/settings":
            settings = dict(parse_qsl(asked.query))
            self.latency, self.pace = (float(settings.get(name, 0)) / 1000 for name in ("latency", "pace"))
        elif asked.path != "/counts":
            return _NOT_FOUND
        return of_http(json.dumps({"requests": self.requests, "connections": self.connections}).encode())


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._received = bytearray()
        self._is_counted = False

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers are written to."""
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()

    @override
    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:end])
            whole = self._end_of_body(head, end + 4)
            if whole is None:
                return
            body = bytes(self._received[end + 4 : whole])
            del self._received[:whole]
            self._answer(head.split(b" ", 2)[1], body)

    def _end_of_body(self, head: bytes, start: int) -> int | None:
        length = _LENGTH.search(head)
        if length is not None:
            end = start + int(length.group(1))
            return end if len(self._received) >= end else None
        if _CHUNKED.search(head):
            end = self._received.find(b"0\r\n\r\n", start)
            return end + 5 if end >= 0 else None
        return start

    def _answer(self, path: bytes, body: bytes) -> None:
        answer = answer_to(path, body)
        if answer is None:
            self._transport.write(self._state.control(path.decode()))
            return
        self._state.requests += 1
        if not self._is_counted:
            self._is_counted = True
            self._state.connections += 1
        if isinstance(answer, list):
            self._send_stream(answer)
        elif self._state.latency:
            self._loop.call_later(self._state.latency, self._transport.write, answer)
        else:
            self._transport.write(answer)

    def _send_stream(self, parts: Sequence[bytes]) -> None:
        latency, pace = self._state.latency, self._state.pace
        if not pace:
            self._loop.call_later(latency, self._transport.write, _STREAMS[id(parts)])
            return
        for number, part in enumerate(parts):
            self._loop.call_later(latency + number * pace, self._transport.write, part)


def answer_to(path: bytes, body: bytes) -> bytes | list[bytes] | None:
    """What a request wants: an answer, a stream, or None if it is not a model's business."""
    if path.endswith(b"/chat/completions"):
        return _OPENAI_STREAM if _STREAM.search(body) else _OPENAI[_kind(body, b'"response_format"')]
    if path.endswith(b"/v1/messages"):
        return _ANTHROPIC_STREAM if _STREAM.search(body) else _ANTHROPIC[_kind(body, b'"output_config"')]
    if b":streamGenerateContent" in path:
        return _GEMINI_STREAM
    if b":generateContent" in path:
        return _GEMINI[_kind(body, b'"responseMimeType"')]
    return None


def _kind(body: bytes, schema: bytes) -> str:
    if schema in body:
        return "structured"
    return "tools" if b'"tools"' in body else "plain"


async def main(core: str) -> None:
    """Serve until standard input ends."""
    stay_on(int(core))
    state, loop = State(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(state), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
