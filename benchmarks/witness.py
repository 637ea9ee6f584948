"""A provider that checks whose key it sees, and fails when it is told to; in a process of its own.

    with Witness() as witness: …

It speaks Chat Completions, Responses, Gemini's API and Anthropic's. A prompt says what is to be answered and who pays:
``plain #17 for u5``. Whoever pays must be named by the key: at ``/alpha`` the key of ``u5`` is ``alpha-u5``. Any other
key is counted as wrong. ``long`` answers in many pieces, ``slow`` after seconds, ``unfit`` not as the schema has it
until it is asked again.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self, cast

from typing_extensions import override

from .answers import of_http, of_stream

if TYPE_CHECKING:
    from collections.abc import Iterable

LONG_PIECES, SHORT_PIECES = 40, 5
SLOW_SECONDS = 2.0
PACE_SECONDS = 0.02
_LATENCY_SECONDS = 0.005
_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_KEY = re.compile(rb"\r\n(?:authorization: Bearer|x-goog-api-key:|x-api-key:) *([^\r\n]+)", re.IGNORECASE)
_TOLD = re.compile(rb"(plain|long|slow|unfit|tool) #(\d+) for ([\w+-]+)")
_MODEL = re.compile(rb'"model": ?"([^"]+)"|/models/([^:]+):')
_ERRORS = {"401": "Unauthorized", "429": "Too Many Requests", "500": "Server Error", "503": "Unavailable"}


class Witness:
    """The provider, as whoever starts it sees it.

    Args:
        certificate: A file with a certificate and its key; then it speaks TLS.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self._certificate = certificate

    def __enter__(self) -> Self:
        more = [str(self._certificate)] if self._certificate else []
        self._process = subprocess.Popen(  # noqa: S603 - this module
            [sys.executable, "-m", __name__, *more],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stdin, self._stdout = (
            cast("IO[str]", self._process.stdin),
            cast("IO[str]", self._process.stdout),
        )
        scheme = "https" if self._certificate else "http"
        self.origin = f"{scheme}://127.0.0.1:{self._stdout.readline().strip()}"
        return self

    def __exit__(self, *_: object) -> None:
        self._stdin.close()
        self._process.wait(timeout=10)
        self._stdout.close()

    def fail(self, faults: dict[str, str]) -> None:
        """From now on these models fail, each in its way: ``503``, ``429``, ``500`` or ``hang up``, or are ``slow``; no others do."""
        self._ask({"faults": faults})

    def counts(self) -> Counter[str]:
        """``requests``, ``connections`` so far and ``open`` ones, ``wrong keys``, ``house keys``, ``left in the middle``."""
        return Counter(self._ask({}))

    def _ask(self, what: dict[str, Any]) -> dict[str, int]:
        self._stdin.write(json.dumps(what) + "\n")
        self._stdin.flush()
        told: dict[str, int] = json.loads(self._stdout.readline())
        return told


# In the process of its own ---------------------------------------------------------------------------------------------


@dataclass
class State:
    """What all connections share."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)

    def told(self, line: str) -> str:
        """What is said to a line of standard input."""
        self.faults = json.loads(line).get("faults", self.faults)
        return json.dumps(self.counts)


class Asked(NamedTuple):
    """One request, as far as it matters."""

    kind: str
    number: int
    payer: str
    provider: str
    model: str
    key: str
    api: str
    streams: bool
    wants_json: bool
    tool: str | None
    is_repair: bool

    @property
    def is_signed_by_its_payer(self) -> bool:
        """Whether the key is that of one of those who may pay."""
        return any(self.key.startswith(f"{self.provider}-{payer}.") for payer in self.payer.split("+"))

    @property
    def text(self) -> str:
        """What is answered."""
        if not self.wants_json:
            return f"the answer to {self.number}"
        return "{}" if self.kind == "unfit" and not self.is_repair else json.dumps({"number": self.number})

    @property
    def pieces(self) -> list[str]:
        """The same in parts."""
        most = LONG_PIECES if self.kind == "long" else SHORT_PIECES
        words = [f"{word} " for word in self.text.split(" ")]
        filler = [f"word{place} " for place in range(most - len(words))]
        return [*filler, *words[:-1], words[-1][:-1]]


def _asked(head: bytes, body: bytes) -> Asked:
    told, model, key = _TOLD.findall(body)[-1], _MODEL.search(body + head), _KEY.search(head)
    path = head.split(b" ", 2)[1]
    tool = re.search(rb'"tools": ?\[.*?"name": ?"(\w+)"', body)
    ends = {b"enerateContent": "gemini", b"/responses": "responses", b"/messages": "anthropic"}
    api = next((name for end, name in ends.items() if end in path), "chat")
    return Asked(
        kind=told[0].decode(),
        number=int(told[1]),
        payer=told[2].decode(),
        provider=path.split(b"/", 2)[1].decode(),
        model=next(filter(None, model.groups())).decode() if model else "",
        key=key.group(1).decode() + "." if key else "",
        api=api,
        streams=b'"stream":true' in body.replace(b" ", b"") or b"streamGenerate" in path,
        wants_json=b'"response_format"' in body or b"responseMimeType" in body,
        tool=tool.group(1).decode() if tool else None,
        is_repair=b"does not fit" in body,
    )


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._received = bytearray()
        self._answering: asyncio.Task[None] | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """One more."""
        self._transport = cast("asyncio.Transport", transport)
        self._state.counts.update({"connections": 1, "open": 1})

    @override
    def connection_lost(self, error: Exception | None) -> None:
        """One less; perhaps in the middle of an answer."""
        del error
        self._state.counts["open"] -= 1
        if self._answering is not None and not self._answering.done():
            self._answering.cancel()
            self._state.counts["left in the middle"] += 1

    @override
    def data_received(self, data: bytes) -> None:
        """Answer a request that is complete. None comes before the one before is answered."""
        self._received += data
        end = self._received.find(_HEAD_END)
        length = _LENGTH.search(self._received, 0, end + 2) if end >= 0 else None
        whole = end + len(_HEAD_END) + int(length.group(1)) if length else -1
        if end < 0 or len(self._received) < whole:
            return
        head, body = bytes(self._received[:end]), bytes(self._received[end:whole])
        self._received.clear()
        self._answering = asyncio.create_task(self._answer(_asked(head, body)))

    async def _answer(self, asked: Asked) -> None:
        self._state.counts["requests"] += 1
        if not asked.is_signed_by_its_payer:
            self._state.counts["wrong keys"] += 1
        self._state.counts["house keys"] += asked.key.startswith(f"{asked.provider}-house")
        fault = self._state.faults.get(asked.model)
        await asyncio.sleep(SLOW_SECONDS if "slow" in {asked.kind, fault} else _LATENCY_SECONDS)
        await self._say(asked, "401" if asked.payer.startswith("bad") else fault)

    async def _say(self, asked: Asked, fault: str | None) -> None:
        if fault == "hang up":
            self._transport.abort()
        elif fault not in {None, "slow"}:
            self._transport.write(_error(fault, asked))
        elif asked.streams:
            await self._stream(asked)
        else:
            self._transport.write(of_http(json.dumps(_whole(asked)).encode()))

    async def _stream(self, asked: Asked) -> None:
        parts = of_stream([b"data: %b\r\n\r\n" % event for event in _events(asked)])
        if asked.kind != "long":
            self._transport.write(b"".join(parts))
            return
        for part in parts:
            self._transport.write(part)
            await asyncio.sleep(PACE_SECONDS)


# What it says ----------------------------------------------------------------------------------------------------------


def _error(status: str, asked: Asked) -> bytes:
    code = "invalid_api_key" if status == "401" else None
    openai = {"message": _ERRORS[status], "type": "error", "param": None, "code": code}
    gemini = {"code": int(status), "message": _ERRORS[status], "status": "UNAVAILABLE"}
    body = json.dumps({"error": gemini if asked.api == "gemini" else openai}).encode()
    head = f"{status} {_ERRORS[status]}" + ("\r\nretry-after: 1" if status == "429" else "")
    return of_http(body).replace(b"200 OK", head.encode(), 1)


def _whole(asked: Asked) -> dict[str, Any]:
    if asked.api == "gemini":
        return _content(asked.text, "STOP")
    if asked.api == "responses":
        return _response(asked)
    if asked.api == "anthropic":
        return {
            **_message(asked),
            "content": [{"type": "text", "text": asked.text}],
            "stop_reason": "end_turn",
        }
    message: dict[str, Any] = {"role": "assistant", "content": asked.text}
    if asked.tool is not None:
        function = {"name": asked.tool, "arguments": json.dumps({"number": asked.number})}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
    reason = "stop" if asked.tool is None else "tool_calls"
    return {**_completion(asked, message=message, finish_reason=reason), "usage": _usage(asked)}


def _response(asked: Asked) -> dict[str, Any]:
    part = {"type": "output_text", "text": asked.text, "annotations": []}
    said = {
        "type": "message",
        "id": "msg_1",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }
    usage = {"input_tokens": 20, "output_tokens": 10, "total_tokens": 30}
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    return {
        "id": f"resp_{asked.number}",
        "object": "response",
        "created_at": 1_780_000_000,
        "model": asked.model,
        "status": "completed",
        "output": [said],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {**usage, **details},
    }


def _events(asked: Asked) -> Iterable[bytes]:
    if asked.api == "gemini":
        parts = asked.pieces
        told = [_content(part, "STOP" if part is parts[-1] else None) for part in parts]
        return [json.dumps(item).encode() for item in told]
    if asked.api == "anthropic":
        return [json.dumps(item).encode() for item in _message_events(asked)]
    pieces = [_chunk(asked, delta={"content": piece}) for piece in asked.pieces]
    last = {**_chunk(asked), "choices": [], "usage": _usage(asked)}
    told = [_chunk(asked, delta={"role": "assistant", "content": ""}), *pieces]
    told += [_chunk(asked, delta={}, finish_reason="stop"), last]
    return [*(json.dumps(item).encode() for item in told), b"[DONE]"]


def _message(asked: Asked) -> dict[str, Any]:
    usage = {"input_tokens": 20, "output_tokens": len(asked.pieces)}
    about = {"id": f"msg_{asked.number}", "type": "message", "role": "assistant", "content": []}
    return {**about, "model": asked.model, "stop_reason": None, "usage": usage}


def _message_events(asked: Asked) -> Iterable[dict[str, Any]]:
    yield {"type": "message_start", "message": _message(asked)}
    for piece in asked.pieces:
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
    usage = {"output_tokens": len(asked.pieces)}
    yield {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
    yield {"type": "message_stop"}


def _completion(asked: Asked, kind: str = "chat.completion", **choice: object) -> dict[str, Any]:
    choices = [{"index": 0, "finish_reason": None, **choice}]
    about = {"id": f"chatcmpl-{asked.number}", "object": kind, "created": 1_780_000_000}
    return {**about, "model": asked.model, "choices": choices}


def _chunk(asked: Asked, **choice: object) -> dict[str, Any]:
    return _completion(asked, "chat.completion.chunk", **choice)


def _usage(asked: Asked) -> dict[str, int]:
    said = len(asked.pieces)
    return {"prompt_tokens": 20, "completion_tokens": said, "total_tokens": 20 + said}


def _content(text: str, reason: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    usage = {"promptTokenCount": 20, "candidatesTokenCount": 10, "totalTokenCount": 30}
    if reason is not None:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], "usageMetadata": usage, "responseId": "r1"}


async def main(certificate: str | None = None) -> None:
    """Serve until standard input ends."""
    state, loop = State(), asyncio.get_running_loop()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
    if tls is not None and certificate is not None:
        tls.load_cert_chain(certificate)
    server = await loop.create_server(lambda: Connection(state), "127.0.0.1", 0, backlog=2048, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(state.told(line), flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
