"""The benchmarks' provider gives each request the answer that it asks for."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest

from benchmarks.answers import ARGUMENTS, CHUNKS, FIELDS, STREAMED, TEXT
from benchmarks.provider import Connection, State, answer_to
from benchmarks.shapes import schema

CHAT = b"/v1/chat/completions"
GENERATE = b"/v1beta/models/m:generateContent"


def told(path: bytes, body: bytes) -> Any:
    """The answer's body."""
    answer = answer_to(path, body)
    assert isinstance(answer, bytes)
    return json.loads(answer.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("separator", [b"", b" "])
def test_chat_completions(separator: bytes) -> None:
    tools = told(CHAT, b'{"tools":' + separator + b"[]}")["choices"][0]["message"]["tool_calls"]
    structured = told(CHAT, b'{"response_format":' + separator + b"{}}")["choices"][0]["message"]["content"]

    assert told(CHAT, b"{}")["choices"][0]["message"]["content"] == TEXT
    assert json.loads(tools[0]["function"]["arguments"]) == ARGUMENTS
    assert schema().model_validate_json(structured).model_dump() == FIELDS
    assert isinstance(answer_to(CHAT, b'{"stream":' + separator + b"true}"), list)


def test_gemini() -> None:
    def part(body: bytes) -> Any:
        return told(GENERATE, body)["candidates"][0]["content"]["parts"][0]

    assert part(b"{}") == {"text": TEXT}
    assert part(b'{"tools": []}')["functionCall"]["args"] == ARGUMENTS
    assert json.loads(part(b'{"responseMimeType": "application/json"}')["text"]) == FIELDS


def test_a_plain_answer_has_about_a_kilobyte() -> None:
    answer = answer_to(CHAT, b"{}")

    assert isinstance(answer, bytes)
    assert 900 < len(answer) < 1400


def test_over_a_connection() -> None:
    """Two answers over one connection, a stream, and the counts of both."""
    asyncio.run(_over_a_connection())


async def _over_a_connection() -> None:
    state = State()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(state), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        for _ in range(2):
            answer = await client.post(CHAT.decode(), json={"messages": "x" * 200_000})
            assert answer.json()["choices"][0]["message"]["content"] == TEXT
        assert await _streamed(client) == STREAMED
        await client.get("/settings?latency=1&pace=0.1")
        assert state.latency == 0.001
        assert await _streamed(client) == STREAMED
        assert (await client.get("/counts")).json() == {"requests": 4, "connections": 1}
        assert (await client.get("/elsewhere")).status_code == 404
    server.close()
    await server.wait_closed()


async def _streamed(client: httpx2.AsyncClient) -> str:
    answer = await client.post(CHAT.decode(), json={"stream": True})
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    texts = [chunk["choices"][0]["delta"].get("content") for chunk in chunks if chunk["choices"]]
    assert len([text for text in texts if text]) == CHUNKS
    assert chunks[-1]["usage"]
    return "".join(text or "" for text in texts)
