"""The service as a process of its own, and the signals that stop it."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest
from typing_extensions import override

from backend.conversations.sample import SAMPLE
from backend.routers.stopping import STOPPING
from backend.tests.integration.test_http import ANSWERS, MODELS
from backend.utils.llm.testing import LoopbackProvider, Text, Trickle
from backend.utils.llm.testing.patchbays import loopback_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from backend.utils.llm.testing import Reply
    from backend.utils.llm.testing.transmission import ReplyContext

ROOT = Path(__file__).parents[3]
SOON = 60.0
FEATURES = ["chat_responses", "conv_action_items", "conv_discard", "conv_folder", "conv_structure"]
SERVE = """
import sys
from pathlib import Path
from backend import serve
from backend.local_model import child
from backend.settings import Settings
serve.GRACE_SECONDS = child.PATIENCE = 0.2
sys.exit(serve.serve(Settings(data_dir=Path(sys.argv[1]), port=0), once=len(sys.argv) > 2))
"""


class Service:
    """A running service. ``said`` is what it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said = ""

    def says(self, pattern: str) -> str:
        """Wait until it prints ``pattern``; its first group."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.said += line
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError(self.said)

    def stopped(self, number: signal.Signals) -> int:
        """Stop it; its exit status."""
        self.process.send_signal(number)
        assert self.process.stdout
        self.said += self.process.stdout.read()
        return self.process.wait(SOON)


@contextmanager
def service(data: Path, environ: Mapping[str, str], *more: str) -> Iterator[Service]:
    with process_of(environ, "-c", SERVE, str(data), *more) as running:
        yield running


@contextmanager
def process_of(environ: Mapping[str, str], *arguments: str) -> Iterator[Service]:
    """A service that Python starts with ``arguments``, killed at the end of the block."""
    variables = {"PATH": os.defpath, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", **environ}
    with subprocess.Popen(  # noqa: S603 - our own script
        [sys.executable, *arguments],
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield Service(process)
        finally:
            process.kill()


@pytest.fixture
def on_loopback(tmp_path: Path, provider: LoopbackProvider) -> dict[str, str]:
    path = tmp_path / "llm.toml"
    path.write_text(loopback_table(provider, dict.fromkeys(FEATURES, "openai:gpt-6-luna")))
    return {"LLM_CONFIG": str(path), "LOOPBACK_OPENAI_KEY": "sk-of-the-house"}


def test_a_stream_that_outlasts_the_grace_ends_with_an_error_event(
    tmp_path: Path, on_loopback: dict[str, str], provider: LoopbackProvider
) -> None:
    with service(tmp_path / "data", on_loopback) as running:
        base_url = running.says(r"Open (http://[^/\s]+)")
        token = running.says(r"^  (pb_\S+)")
        provider.always(Trickle(Text("word " * 2_000), gap_seconds=0.05), model="gpt-6-luna")
        with httpx2.Client(base_url=base_url, headers={"authorization": f"Bearer {token}"}) as client:
            first = client.get("/v1/conversations").json()["items"][0]
            asked = {"conversation_id": first["id"], "question": "When?"}
            with client.stream("POST", "/v1/chat", json=asked) as answer:
                lines = answer.iter_lines()
                next(lines)
                running.process.send_signal(signal.SIGTERM)
                rest = [line for line in lines if line]

        assert running.process.wait(SOON) == 0

    name, data = rest[-2:]
    assert (name, json.loads(data.removeprefix("data: "))) == ("event: error", STOPPING)
    assert provider.wait_until(lambda requests: requests[-1].closed_by_client)
    assert "Traceback" not in running.said


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_model_that_hangs_ends_with_the_service(tmp_path: Path) -> None:
    with service(tmp_path / "data", {}) as running:
        running.says(r"(is ready)\.")
        pid = child_of(running.process.pid)
        child = os.pidfd_open(pid)
        os.kill(pid, signal.SIGSTOP)

        status = running.stopped(signal.SIGINT)

        assert select.select([child], [], [], 5)[0]
    os.close(child)
    assert status == 0
    assert "Traceback" not in running.said


def test_what_was_to_run_once_and_did_not_has_the_status_of_the_signal(
    tmp_path: Path, on_loopback: dict[str, str], provider: LoopbackProvider
) -> None:
    provider.always(Trickle(Text("word " * 2_000), gap_seconds=0.05), model="gpt-6-luna")
    with service(tmp_path / "data", on_loopback, "once") as running:
        assert provider.wait_until(bool, timeout_seconds=SOON)

        status = running.stopped(signal.SIGTERM)

    assert status == 143
    assert "Traceback" not in running.said


def child_of(parent: int) -> int:
    """The process that ``parent`` has started."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(after[1]) == parent:
            return int(stat.parent.name)
    raise AssertionError(f"{parent} has no child")


class Held(LoopbackProvider):
    """Holds its answers to requests of conversations back until they are released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    @override
    def next_reply(self, exchange: ReplyContext) -> Reply:
        reply = super().next_reply(exchange)
        self.released.wait(SOON)
        return reply


def test_what_models_answer_after_the_grace_is_kept_and_not_asked_for_again(tmp_path: Path) -> None:
    body, key = SAMPLE.model_dump(mode="json"), {"idempotency-key": "a"}
    with Held() as provider, ThreadPoolExecutor(1) as elsewhere:
        for feature, answer in ANSWERS.items():
            provider.always(answer, model=MODELS[feature])
        provider.released.set()
        path = tmp_path / "llm.toml"
        path.write_text(loopback_table(provider, {one: f"openai:{MODELS[one]}" for one in FEATURES}))
        variables = {"LLM_CONFIG": str(path), "LOOPBACK_OPENAI_KEY": "sk-of-the-house"}
        with service(tmp_path / "data", variables) as running:
            base_url, token = running.says(r"Open (http://[^/\s]+)"), running.says(r"^  (pb_\S+)")
            headers = {"authorization": f"Bearer {token}", **key}
            before = len(provider.requests)
            provider.released.clear()
            with httpx2.Client(base_url=base_url, headers=headers, timeout=SOON) as client:
                asking = elsewhere.submit(client.post, "/v1/conversations", json=body)
                assert provider.wait_until(lambda requests: len(requests) == before + 2, timeout_seconds=SOON)
                running.process.send_signal(signal.SIGTERM)
                told = asking.result(SOON)
                provider.released.set()
                assert running.process.wait(SOON) == 0
        assert (told.status_code, told.json()) == (503, {"error": STOPPING})
        assert len(provider.requests) == before + 2

        with service(tmp_path / "data", variables) as running:
            base_url = running.says(r"Open (http://[^/\s]+)")
            with httpx2.Client(base_url=base_url, headers=headers, timeout=SOON) as client:
                created = client.post("/v1/conversations", json=body)

        assert created.status_code == 201
        asked = Counter(request.model for request in provider.requests[before:])
        assert set(asked.values()) == {1}
