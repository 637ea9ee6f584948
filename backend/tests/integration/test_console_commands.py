"""What the views show, on the command line."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from backend.tests.fakes.commands import in_force, run, told
from backend.utils.llm.testing.patchbays import loopback_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backend.utils.llm.testing import LoopbackProvider

LUNA, FLASH = "openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"
CANARY = "sk-canary-0123456789abcdef"


@pytest.fixture(autouse=True)
def data(tmp_path: Path, provider: LoopbackProvider, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table and a folder for data, in force by the environment."""
    return in_force(loopback_table(provider, {"greet": [LUNA, FLASH]}), tmp_path, monkeypatch)


def test_models_tells_what_the_table_names() -> None:
    found = {one["endpoint"]: one for one in told("models")["models"]}

    assert set(found) == {LUNA, FLASH}
    assert found[LUNA]["features"] == ["greet"]
    assert found[LUNA]["input_usd"] == "0.1"
    assert LUNA in run("models").stdout


def test_config_tells_what_is_in_force_and_what_was_laid_over_it() -> None:
    run("override", "set", "greet", FLASH, "--until", "2h", "--reason", "an outage", "--author", "ann")

    found = told("config")

    assert [(one["subject"], one["author"], one["state"]) for one in found["overrides"]] == [
        ("greet", "ann", "in_force")
    ]
    assert found["workers"] == []
    assert "an outage" in run("config").stdout


class TestNow:
    ANSWER: ClassVar[dict[str, Any]] = {
        "at": "2026-11-29T12:00:00+00:00",
        "level": "bad",
        "verdict": "It is them.",
        "signs": [
            {"level": "bad", "blame": "them", "says": "openai:gpt-6-luna \x1b[31m rests.", "link": None}
        ],
        "window": {"attempts": 4, "failure_rate": 0.25, "p50_s": 0.5, "p95_s": 2.0},
        "endpoints": [
            {
                "name": LUNA,
                "state": "open",
                "now": {
                    "attempts": 4,
                    "failure_rate": 0.25,
                    "limited": 1,
                    "p50_s": 0.5,
                    "p95_s": 2.0,
                    "success_at": "2026-11-29T11:59:00+00:00",
                },
            }
        ],
    }

    def test_it_tells_what_a_server_sees_and_exits_with_1_if_that_is_bad(self) -> None:
        with server(200, self.ANSWER) as url:
            found = run("now", "--url", url, "--token", CANARY)

        assert found.exit_code == 1
        assert "It is them." in found.stdout
        assert "60 s ago" in found.stdout
        assert "\x1b[31m" not in found.stdout
        assert CANARY not in found.output

    def test_all_is_well_is_0(self) -> None:
        with server(200, self.ANSWER | {"level": "good", "endpoints": []}) as url:
            assert run("now", "--url", url, "--json").exit_code == 0

    @pytest.mark.parametrize("status", [303, 401, 403])
    def test_who_may_not_ask_is_told_what_is_needed(self, status: int) -> None:
        with server(status, {}) as url:
            found = run("now", "--url", url, "--token", CANARY)

        assert found.exit_code == 1
        assert "PATCHBAY_TOKEN" in found.output
        assert CANARY not in found.output

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "http://[::1"])
    def test_where_nobody_answers_it_says_so(self, url: str) -> None:
        found = run("now", "--url", url, "--json")

        assert found.exit_code == 1
        assert '"code": "no_answer"' in found.stdout


@contextmanager
def server(status: int, answer: dict[str, Any]) -> Iterator[str]:
    """Answers every request so."""
    import json

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
