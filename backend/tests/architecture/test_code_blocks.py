"""What the pages show is true: Python runs, tables load, commands and addresses are understood, JSON and YAML can be read.

A block that is not run is in a list here, by its page and its first line, with its cause.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import pytest
import tomli_w
import yaml
from pydantic import SecretStr
from typer.core import TyperGroup
from typer.main import get_command

from backend.cli import app
from backend.commands.terminal import ExitStatus
from backend.main import create_app
from backend.tests.fakes.commands import run
from backend.utils.llm import Caller, Needs, Patchbay, Table, use
from backend.utils.llm.diagnostics.explain import Explanation
from backend.utils.llm.model_config import parse_table
from backend.utils.llm.routing.plan import plan_route
from backend.utils.llm.testing import LoopbackProvider
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_table

from .blocks import ROOT, Block, blocks, blocks_of, pages

if TYPE_CHECKING:
    from collections.abc import Iterator

LANGUAGES: Final = {"", "bash", "console", "json", "python", "sh", "sql", "text", "toml", "yaml"}
ELSEWHERE: Final = {
    "docs/how-to/coming-from.md": "test_coming_from.py writes what it shows, and runs it",
    "docs/how-to/test-your-product-code.md": "test_docs.py runs its tests",
}
"""Pages whose Python another test runs."""
SHOWN_ELSEWHERE: Final = {
    "docs/how-to/choose-an-endpoint.md": "test_docs.py has its tables",
    "docs/how-to/cut-the-tail.md": "it is of the page's own table",
    "docs/how-to/override-for-a-while.md": "it is of a stored override; test_overrides.py has one",
}
"""Pages whose explanations are not of the shipped table."""
WRITTEN_ON: Final = date(2026, 11, 21)
NOT_RUN: Final = {
    ("docs/how-to/agents.md", "from mcp import Client"): "it connects to a server",
    ("docs/how-to/agents.md", "from backend.agents.langchain_gate import ConfirmedTools"): (
        "store, tools and owner are the application's; test_langchain_gate.py has some"
    ),
    (
        "docs/how-to/bring-your-own-key.md",
        "from pydantic import SecretStr",
    ): "it calls a server of the user's",
    ("docs/how-to/lift-it.md", "from contextlib import asynccontextmanager"): (
        "it is of a project that took the facade in; test_lift.py makes one"
    ),
    ("docs/how-to/run-several-processes.md", "from concurrent.futures import ProcessPoolExecutor"): (
        "a test forks nothing of its own runner; test_forks.py calls from forked children"
    ),
    ("docs/how-to/watch-it-run.md", "from opentelemetry import trace"): "it sends to a collector",
    ("docs/how-to/watch-it-run.md", "from langsmith import Client, tracing_context"): "it sends to LangSmith",
    ("docs/how-to/use-any-client.md", "from openai import OpenAI"): "it calls a server that runs",
    ("docs/reference/messages-api.md", "from anthropic import Anthropic"): "it calls a server that runs",
    ("docs/reference/spool.md", "from pathlib import Path"): "it writes below /var/lib",
}
"""Python."""
NO_TABLES: Final = {
    ("docs/how-to/use-any-client.md", 'model = "chat_responses"'): "Codex' configuration",
    ("docs/how-to/coming-from.md", "# tensorzero.toml, before"): "TensorZero's configuration",
    (
        "docs/how-to/see-usage.md",
        'version = "2026-12 contract"             # rows are marked with it: `price_version`',
    ): ("prices for `usage recompute`"),
}
"""TOML that is no part of a table."""
NOT_CALLED: Final = {
    "import-config": "its file is not there; test_import.py has some",
    "init": "the same",
    "lift": "it writes outside of the test's folder; test_lift.py calls it",
    "serve": "it stays up; commands/test_serve.py calls it",
    "types": "it reads outside of the test's folder; commands/test_reading.py calls it",
}
"""Commands."""
FEATURES: Final = [
    *("brief", "chat", "chat_agent", "chat_responses", "conv_action_items"),
    *("conv_folder", "conv_overview", "conv_structure", "judge"),
]
PROVIDERS: Final = """
[providers]
openai = { api = "openai", api_key_env = "OPENAI_API_KEY" }
gemini = { api = "gemini", api_key_env = "GEMINI_API_KEY" }
anthropic = { api = "anthropic", api_key_env = "ANTHROPIC_API_KEY" }
openrouter = { api = "openai", base_url = "https://openrouter.ai/api/v1", api_key_env = "OPENROUTER_API_KEY" }
local = { api = "openai" }
[profiles.premium]
chat = "openai:gpt-6-luna"
conv_folder = "openai:gpt-6-luna"
[profiles.byok]
extends = "premium"
"""
"""What parts of tables leave out."""
MORE: Final = """
[features.memories]
embedding = { model = "text-embedding-3-small", dimensions = 8 }
"""


def test_every_block_is_in_a_language_that_is_looked_at() -> None:
    assert {block.language for block in blocks()} <= LANGUAGES


def test_every_exception_is_needed() -> None:
    there = {block.name for block in blocks()}

    assert there >= NOT_RUN.keys() | NO_TABLES.keys()
    assert {block.page for block in blocks("python")} >= ELSEWHERE.keys()


class TestPython:
    """The blocks of a page run one after the other, as they are printed; later ones may use names of those before."""

    @pytest.mark.parametrize(
        "page",
        [path for path in pages() if any(each.language == "python" for each in blocks_of(path))],
        ids=lambda one: one.name,
    )
    def test_it_runs(self, page: Path, world: None) -> None:
        names = vars(ModuleType("page"))
        for block in blocks_of(page):
            if block.language == "python" and block.page not in ELSEWHERE and block.name not in NOT_RUN:
                _executed(block, names)

    @pytest.mark.parametrize("block", blocks("python"), ids=str)
    def test_it_is_python(self, block: Block) -> None:
        compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def _executed(block: Block, names: dict[str, Any]) -> None:
    code = compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    left = eval(code, names)  # noqa: S307 - our own page
    if inspect.iscoroutine(left):
        asyncio.run(left)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A table of the pages' features, in force by the environment, on a provider that answers by rule."""
    chains = {**dict.fromkeys(FEATURES, "openai:gpt-6.1-terra"), "memories": "openai:text-embedding-3-small"}
    with LoopbackProvider() as provider:
        (tmp_path / "llm.toml").write_text(loopback_table(provider, chains, MORE))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("LLM_CONFIG", str(tmp_path / "llm.toml"))
        monkeypatch.setenv("PATCHBAY_DATA_DIR", str(tmp_path / "data"))
        for name, key in HOUSE_KEYS.items():
            monkeypatch.setenv(name, key)
        patchbay = Patchbay(Table(tmp_path / "llm.toml"))
        with use(patchbay):
            yield
        patchbay.close()


class TestTables:
    @pytest.mark.parametrize("block", [one for one in blocks("toml") if one.name not in NO_TABLES], ids=str)
    def test_it_loads(self, block: Block) -> None:
        parse_table(_completed(block.text), environ={})

    @pytest.mark.parametrize("block", [one for one in blocks("toml") if one.name in NO_TABLES], ids=str)
    def test_what_is_no_table_is_toml(self, block: Block) -> None:
        tomllib.loads(block.text)


def _completed(text: str) -> str:
    """A part of a table with what a page leaves out: providers, and two features in two profiles."""
    given, rest = tomllib.loads(text), tomllib.loads(PROVIDERS)
    providers = {
        name: row if "api" in row else rest["providers"][name] | row
        for name, row in given.get("providers", {}).items()
    }
    whole = rest | given | {"providers": rest["providers"] | providers}
    if "profile" not in given:
        profiles = rest["profiles"] | given.get("profiles", {})
        whole["profiles"] = profiles | {"premium": rest["profiles"]["premium"] | profiles["premium"]}
    return tomli_w.dumps(whole)


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_can_be_read(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_can_be_read(block: Block) -> None:
    assert yaml.safe_load(block.text)


SHELLS: Final = blocks("bash", "console", "sh")
OURS: Final = [one for one in SHELLS if any(one.ours())]


class TestCommands:
    @pytest.mark.skipif(shutil.which("bash") is None, reason="it asks bash")
    @pytest.mark.parametrize("page", sorted({one.page for one in SHELLS}))
    def test_bash_understands_it(self, page: str) -> None:
        program = "\n".join(
            line
            for block in SHELLS
            if block.page == page
            for line in (block.commands() if block.language == "console" else [block.text])
        )

        done = subprocess.run(["bash", "-n"], input=program, text=True, capture_output=True, check=False)  # noqa: S607

        assert done.stderr == ""

    @pytest.mark.parametrize("block", OURS, ids=str)
    def test_its_arguments_are_understood(self, block: Block) -> None:
        for asked in block.ours():
            understood(asked)

    @pytest.mark.parametrize("page", sorted({one.page for one in OURS}))
    def test_it_runs(self, page: str, world: None) -> None:
        """In a folder and on a database of its own. It may find nothing, such as an id of the page."""
        for asked in (one for block in OURS if block.page == page for one in block.ours()):
            if asked[0] not in NOT_CALLED:
                result = run(*asked)
                assert result.exit_code not in {ExitStatus.MISUSE, ExitStatus.CONFIGURATION}, result.output
                assert result.exception is None or isinstance(result.exception, SystemExit)

    @pytest.mark.parametrize("block", SHELLS, ids=str)
    def test_its_files_and_targets_exist(self, block: Block) -> None:
        text = "\n".join(block.commands())
        targets = re.findall(r"^(?:.*&& )?make ([a-z-]+)", text, re.MULTILINE)
        makefile = (ROOT / "Makefile").read_text("utf-8")

        assert [one for one in re.findall(r"\./(backend/\S+)", text) if not (ROOT / one).exists()] == []
        assert [target for target in targets if f"\n{target}:" not in makefile] == []

    def test_what_is_asked_with_curl_is_served(self) -> None:
        served = create_app().openapi()["paths"]
        routes = [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), methods) for path, methods in served.items()]
        asked = [(block, *address) for block in SHELLS for address in block.addresses()]

        assert len(asked) > 5
        assert [
            f"{block}: {method} {path}"
            for block, method, path in asked
            if not any(known.fullmatch(path) and method.lower() in methods for known, methods in routes)
        ] == []


def understood(asked: list[str]) -> None:
    """Parse a command line without running what it calls."""
    command: Any = get_command(app)
    context, arguments = None, asked
    while True:
        context = command.make_context(command.name, arguments, parent=context)
        rest = [*context._protected_args, *context.args]
        if not isinstance(command, TyperGroup) or not rest:
            return
        _, command, arguments = command.resolve_command(context, rest)


SHOWN: Final = [
    one
    for one in blocks("console")
    if re.match(r"\$ .*(?:\\\n.*)?\bexplain \w+", one.text) and one.page not in SHOWN_ELSEWHERE
]


class TestExplanations:
    """What a page shows of `explain` is what it prints of the shipped table, but for the table's hash."""

    def test_the_first_page_shows_one(self) -> None:
        assert "README.md" in {block.page for block in SHOWN}

    @pytest.mark.parametrize("block", SHOWN, ids=str)
    def test_it_is_printed_so(self, block: Block) -> None:
        command = next(block.commands())
        asked = shlex.split(command.partition(" explain ")[2])
        keys = {name: SecretStr("a-key") for at, name in enumerate(asked) if at and asked[at - 1] == "--byok"}
        table = (ROOT / "backend/llm.toml").read_text("utf-8")
        snapshot = parse_table(table, environ=_variables(command), source=Path("llm.toml"))

        route = plan_route(snapshot, asked[0], Caller(keys=keys), Needs(), today=WRITTEN_ON)

        assert _without_hash(f"{Explanation._make(route)}\n") == _without_hash(_printed(block))


def _variables(command: str) -> dict[str, str]:
    """What stands before a command for its environment alone."""
    words = shlex.split(command)
    return dict(word.split("=", 1) for word in words[: words.index("-m")] if "=" in word)


def _printed(block: Block) -> str:
    text = re.sub(r"\\\n\s*", "", block.text)
    return text.partition("\n")[2]


def _without_hash(text: str) -> str:
    return re.sub(r"table [0-9a-f]{12}", "table …", text)
