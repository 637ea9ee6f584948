"""The facade is silent when it is imported, and can be lifted out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FACADE = ROOT / "backend" / "utils" / "llm"

QUIET = """
import sys
import pydantic
before = set(sys.modules)
opened = []
sys.addaudithook(lambda event, args: opened.append(args[0]) if event in {"open", "socket.connect"} else None)
import backend.utils.llm
imported = len(set(sys.modules) - before)
loud = sorted(name for name in sys.modules if name.split(".")[0] in {"langchain_core", "langchain_openai", "openai", "google", "httpx", "httpx2", "langchain_google_genai"})
files = [str(what) for what in opened if not isinstance(what, int) and "__pycache__" not in str(what) and not str(what).endswith(".py")]
print(repr((loud, files, imported)))
"""

LIFTED = """
import sys
from utils.llm import AttemptRecord, Caller, JsonLinesSink, Patchbay, Table, get_llm, use, use_caller
from utils.llm.testing import LoopbackProvider
from utils.llm.testing.patchbays import loopback_patchbay

assert not any(name.split(".")[0] == "backend" for name in sys.modules)
with LoopbackProvider() as provider:
    chain = ["openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"]
    patchbay = loopback_patchbay(provider, {"greet": chain}, ledger=JsonLinesSink("ledger.jsonl"))
    with use(patchbay), use_caller(Caller(keys={"gemini": "mine"})):
        answer = get_llm("greet").invoke("hi")
    patchbay.close()
record = AttemptRecord.from_json(open("ledger.jsonl").read())
assert record.call == answer.response_metadata["receipt"]["id"]
print(record.endpoint, provider.requests[0].key)
"""


def run(program: str, directory: Path) -> str:
    """What ``program`` prints when it is run on its own in ``directory``."""
    done = subprocess.run(  # noqa: S603 - our own programs
        [sys.executable, "-c", program],
        cwd=directory,
        env={"PATH": "", "PYTHONPATH": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_facade_imports_no_sdk_and_little_else_and_opens_nothing() -> None:
    loud, files, imported = eval(run(QUIET, ROOT))  # noqa: S307 - what our own program printed

    assert loud == []
    assert files == []
    assert imported < 10


@pytest.mark.parametrize(
    "room", ["model_config", "routing", "options", "models", "diagnostics.explain", "caller", "clients"]
)
def test_the_table_and_the_route_need_no_sdk(room: str) -> None:
    program = f"import sys, backend.utils.llm.{room}; print(sorted(set(sys.modules) & {{'openai', 'httpx2', 'langchain_openai', 'langchain_google_genai', 'langchain_core.messages'}}))"

    assert run(program, ROOT) == "[]"


@pytest.mark.writes_keys("*.py*", "a copy of the facade, whose testing kit names the house's keys")
def test_the_folder_alone_serves_calls_in_another_project(tmp_path: Path) -> None:
    shutil.copytree(FACADE, tmp_path / "utils" / "llm", ignore=shutil.ignore_patterns("__pycache__"))

    assert run(LIFTED, tmp_path) == "gemini:gemini-3.5-flash-lite mine"
