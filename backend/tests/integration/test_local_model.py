"""The real model over HTTP, as any OpenAI client would ask it. Shape is asserted here, never meaning."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from backend.local_model import LocalModel, LocalModelAddress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.timeout(180)

SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 12},
        "urgency": {"enum": ["low", "high"]},
    },
    "required": ["title", "urgency"],
    "additionalProperties": False,
}
PARENT = """
import sys
from backend.local_model import LocalModel
model = LocalModel()
model.start()
print(model.address(120).base_url, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def address() -> Iterator[LocalModelAddress]:
    with LocalModel() as model:
        yield model.address(120)


def ask(address: LocalModelAddress, **more: object) -> httpx.Response:
    body = {"model": "any", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16}
    return httpx.post(
        f"{address.base_url}/chat/completions",
        headers={"Authorization": f"Bearer {address.key}"},
        json=body | more,
        timeout=120,
        trust_env=False,
    )


def is_complete(usage: Mapping[str, Any]) -> bool:
    counted = usage["prompt_tokens"] + usage["completion_tokens"]
    return bool(0 < usage["prompt_tokens"] < usage["total_tokens"] == counted)


def is_gone(base_url: str, *, within: float) -> bool:
    """Whether nothing listens at the address any more, after `within` seconds at most."""
    url, pause = httpx.URL(base_url), threading.Event()
    end = time.monotonic() + within
    while listens(url.host, url.port or 0):
        if time.monotonic() > end:
            return False
        pause.wait(0.05)
    return True


def listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except ConnectionError:
        return False
    return True


def test_chat(address: LocalModelAddress) -> None:
    answer = ask(address).raise_for_status().json()

    assert answer["model"] == "smollm2-135m-instruct"
    assert answer["choices"][0]["message"]["content"]
    assert is_complete(answer["usage"])


def test_stream_with_usage(address: LocalModelAddress) -> None:
    response = ask(address, stream=True, stream_options={"include_usage": True}).raise_for_status()

    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    chunks = [json.loads(line) for line in data[:-1]]
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks[:-1])
    assert data[-1] == "[DONE]"
    assert text
    assert is_complete(chunks[-1]["usage"])


def test_structured_output_keeps_to_the_schema(address: LocalModelAddress) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "task", "schema": SCHEMA, "strict": True}}

    answer = ask(address, max_tokens=48, response_format=schema).raise_for_status().json()

    task = json.loads(answer["choices"][0]["message"]["content"])
    assert task.keys() == {"title", "urgency"}
    assert len(task["title"]) <= 12
    assert task["urgency"] in {"low", "high"}


def test_another_key_is_refused(address: LocalModelAddress) -> None:
    assert ask(LocalModelAddress(address.base_url, "wrong")).status_code == 401


def test_child_is_gone_after_stop() -> None:
    model = LocalModel()
    model.start()
    base_url = model.address(120).base_url

    model.stop()

    assert is_gone(base_url, within=0)


def test_child_is_gone_after_its_parent_was_killed() -> None:
    with subprocess.Popen(  # noqa: S603 - our own script
        [sys.executable, "-c", PARENT], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        base_url = parent.stdout.readline().strip()
        assert base_url.endswith("/v1")

        os.kill(parent.pid, signal.SIGKILL)

    assert is_gone(base_url, within=30)
