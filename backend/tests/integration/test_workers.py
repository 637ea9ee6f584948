"""The service in several processes."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from backend.tests.integration.test_stopping import FEATURES, SOON, Service, process_of
from backend.utils.llm.testing.patchbays import loopback_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.utils.llm.testing import LoopbackProvider

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")


@pytest.fixture
def running(tmp_path: Path, provider: LoopbackProvider) -> Iterator[Service]:
    table = tmp_path / "llm.toml"
    table.write_text(loopback_table(provider, dict.fromkeys(FEATURES, "openai:gpt-6-luna")))
    variables = {
        "LLM_CONFIG": str(table),
        "LOOPBACK_OPENAI_KEY": "sk-of-the-house",
        "PATCHBAY_DATA_DIR": str(tmp_path / "data"),
        "PATCHBAY_PORT": "0",
        "PATCHBAY_LEAVING_SECONDS": "10",
    }
    with process_of(variables, "-m", "backend", "serve", "--workers", "2") as service:
        yield service


def test_a_rolling_restart_fails_no_request_and_loses_no_count(running: Service) -> None:
    base_url = running.says(r"Open (http://[^/\s]+)")
    token = running.says(r"^  (pb_\S+)")
    headers = {"authorization": f"Bearer {token}"}
    before = workers_of(running.process.pid)
    ending = watched(before)
    with httpx2.Client(base_url=base_url, headers=headers) as client:
        counted = attempts(client)
        statuses, over = [], threading.Event()

        def ask() -> None:
            with httpx2.Client(base_url=base_url, headers=headers) as asking:
                while not over.wait(0.05):
                    statuses.append(asking.get("/healthz").status_code)

        asking = [threading.Thread(target=ask) for _ in range(2)]
        for thread in asking:
            thread.start()
        running.process.send_signal(signal.SIGHUP)
        assert all_end(ending)
        over.set()
        for thread in asking:
            thread.join()

        assert len(client.get("/v1/conversations").json()["items"]) == 1
        assert attempts(client) == counted > 0
    assert len(before) == len(workers_of(running.process.pid)) == 2
    assert set(statuses) == {200}
    assert "Traceback" not in running.said


def test_a_stop_is_told_by_readyz_and_ends_all_workers(running: Service) -> None:
    base_url = running.says(r"Open (http://[^/\s]+)")
    running.says(r"^  (pb_\S+)")
    ending = watched(workers_of(running.process.pid))

    running.process.send_signal(signal.SIGTERM)
    with httpx2.Client(base_url=base_url) as client:
        while (readiness := client.get("/readyz")).status_code == 200:
            pass
        alive = client.get("/healthz").status_code

    assert (readiness.status_code, readiness.json()["error"]["reason"], alive) == (503, "stopping", 200)
    assert running.stopped(signal.SIGTERM) == 0
    assert len(ending) == 2
    assert all_end(ending)
    assert "Traceback" not in running.said


def test_workers_end_when_their_supervisor_is_killed(running: Service) -> None:
    running.says(r"^  (pb_\S+)")
    ending = watched(workers_of(running.process.pid))

    running.process.kill()

    assert len(ending) == 2
    assert all_end(ending)


def attempts(client: httpx2.Client) -> float:
    """The attempts that the metrics tell of."""
    lines = re.findall(r"^patchbay_attempts_total\{.*\} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return sum(map(float, lines))


def workers_of(supervisor: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = stat.with_name("cmdline").read_text()
        except OSError:  # it has ended
            continue
        if parent == supervisor and "backend.workers.worker" in command:
            found.add(int(stat.parent.name))
    return found


def watched(processes: set[int]) -> list[int]:
    """A descriptor of each, that can be read from once it has ended."""
    return [os.pidfd_open(process) for process in processes]


def all_end(watched: list[int]) -> bool:
    """Whether they do, in time."""
    ended = [select.select([one], [], [], SOON)[0] for one in watched]
    for one in watched:
        os.close(one)
    return all(ended)
