"""What a wire costs by itself: to read a request, to write an answer, a chunk, and the end of a stream.

    PYTHONPATH=. .venv/bin/python -m benchmarks.wires

Takes ten seconds, and sends nothing. Figures are microseconds of this process's processor time; beside them stands how many times
that is what Python's JSON takes of the same: to read the body, or to write the chunk. Exit code 1 if a call takes more than 300 and 2 for each
kilobyte of its body, or a chunk more than 15.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from backend.utils.llm.receipt import TokenUsage
from backend.wires.answer import Answer, Choice, ChoiceFinished, ChoiceStarted, Event, TextDelta
from backend.wires.anthropic.messages import MessagesWire
from backend.wires.bodies import parse_json_object
from backend.wires.complete import NativeCompletionWire
from backend.wires.openai.chat import ChatWire
from backend.wires.openai.responses import ResponsesWire

from .tables import table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backend.wires.wire import Wire

MOST_CALL: Final = 300.0
MORE_FOR_A_KILOBYTE: Final = 2.0
MOST_CHUNK: Final = 15.0
CHUNKS: Final = 50
_SECONDS: Final = 0.3
_ROUNDS: Final = 5
_HELLO: Final = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is a patchbay?"},
]
_RECORDED: Final = Path(__file__).parents[1] / "backend/tests/unit/wires/client_requests"
_USED: Final = TokenUsage(1200, 50)


class Case(NamedTuple):
    """One kind of request over one wire."""

    name: str
    wire: Wire
    body: bytes


def _recorded(client: str) -> bytes:
    """What a client really sent. Its long texts were cut when it was recorded; what they had more stands in the first tool's description."""
    kept = json.loads((_RECORDED / f"{client}.json").read_text(encoding="utf-8"))["requests"][0]
    body, tool = kept["body"], kept["body"]["tools"][0]
    missing = int(kept["headers"]["content-length"]) - len(json.dumps(body))
    tool.get("function", tool)["description"] += "word " * (missing // 5)
    return json.dumps(body).encode()


def _cases() -> list[Case]:
    def body(**more: Any) -> bytes:
        return json.dumps({"model": "chat", **more}).encode()

    return [
        Case("Chat Completions", ChatWire(), body(messages=_HELLO)),
        Case("Chat Completions, OpenCode's first", ChatWire(), _recorded("opencode")),
        Case("Responses", ResponsesWire(), body(input=_HELLO)),
        Case("Responses, Codex' first", ResponsesWire(), _recorded("codex")),
        Case("Messages", MessagesWire(), body(messages=_HELLO[1:], max_tokens=100)),
        Case("Messages, Claude Code's first", MessagesWire(), _recorded("claude-code")),
        Case(
            "/v1/complete",
            NativeCompletionWire(),
            json.dumps({"model_group": "g", "messages": _HELLO}).encode(),
        ),
    ]


def _microseconds(work: Callable[[], object]) -> float:
    """The processor time of ``work``, by the best of some rounds."""
    best = float("inf")
    for _ in range(_ROUNDS):
        times, start = 0, time.process_time()
        while (spent := time.process_time() - start) < _SECONDS / _ROUNDS:
            work()
            times += 1
        best = min(best, spent / times)
    return best * 1e6


def _events() -> Sequence[Event]:
    pieces = [TextDelta(f"word {number} ") for number in range(CHUNKS)]
    return [ChoiceStarted(), *pieces, ChoiceFinished("stop", _USED, {"id": "x"})]


def _measured(case: Case) -> tuple[list[str], bool]:
    exchange = case.wire.parse_request(parse_json_object(case.body))
    answer = Answer([Choice(text="word " * CHUNKS, usage=_USED)])

    def read() -> object:
        return case.wire.parse_request(parse_json_object(case.body))

    def write(events: Sequence[Event]) -> None:
        writer = exchange.make_event_writer()
        for event in events:
            writer.encode(event)

    reading, by_json = _microseconds(read), _microseconds(partial(json.loads, case.body))
    whole = _microseconds(lambda: json.dumps(exchange.make_response_body(answer)))
    events = _events()
    stream, frame = (
        _microseconds(partial(write, events)),
        _microseconds(partial(write, [events[0], events[-1]])),
    )
    chunk = (stream - frame) / CHUNKS
    plain = _microseconds(partial(json.dumps, {"delta": "word 1 ", "index": 0}))
    call = max(reading + whole, reading + frame)
    told = [
        case.name,
        f"{len(case.body):,}",
        f"{reading:.0f} (JSON x {reading / by_json:.1f})",
        f"{whole:.0f}",
        f"{frame:.0f}",
        f"{call:.0f}",
        f"{chunk:.1f} (JSON x {chunk / plain:.1f})",
    ]
    most = MOST_CALL + MORE_FOR_A_KILOBYTE * len(case.body) / 1024
    return told, call <= most and chunk <= MOST_CHUNK


def main() -> int:
    """Print the table; 1 if something takes too long."""
    found = [_measured(case) for case in _cases()]
    head = ["µs of CPU", "bytes", "read", "whole answer", "head and end of a stream", "a call", "a chunk"]
    sys.stdout.write(f"{table(head, [told for told, _ in found])}\n")
    return int(not all(is_kept for _, is_kept in found))


if __name__ == "__main__":
    sys.exit(main())
