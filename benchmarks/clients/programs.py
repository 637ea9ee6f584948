"""The clients, and how each is told where to ask."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .packages import Place

Wire = Literal["chat", "responses", "messages"]

QUESTION: Final = "What does note.txt say?"
_SCRIPTS: Final = Path(__file__).parent / "programs"


class Address(NamedTuple):
    """Where a client asks: the service's origin, an access token, and the model's name, which is a feature's."""

    origin: str
    token: str
    model: str


class Command(NamedTuple):
    """What is run."""

    argv: tuple[str, ...]
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Client:
    """A client, unmodified.

    Attributes:
        packages: From the npm registry; none for what is a requirement of this project's tests.
        wire: The API that it speaks.
        command: What asks `QUESTION` once, and lets the model use tools.
        tool: The name and arguments of the call that makes it read ``note.txt``.
        note: What to know of it.
    """

    name: str
    packages: tuple[str, ...]
    wire: Wire
    command: Callable[[Place, Address], Command]
    tool: tuple[str, Mapping[str, Any]]
    note: str = ""


def _script(name: str) -> Callable[[Place, Address], Command]:
    """A script of ours around an SDK, beside the SDK's ``node_modules``, where node looks for it."""

    def command(place: Place, address: Address) -> Command:
        copied = shutil.copy(_SCRIPTS / name, place.folder)
        program = sys.executable if name.endswith(".py") else "node"
        return Command((program, str(copied), *address, QUESTION), place.environ())

    return command


def _codex(place: Place, address: Address) -> Command:
    provider = f'{{name="ours",base_url="{address.origin}/v1",wire_api="responses",env_key="TOKEN"}}'
    argv = (
        *(place.program("codex"), "exec", "--skip-git-repo-check", "--sandbox", "danger-full-access"),
        *("-c", 'model_provider="ours"', "-c", f"model_providers.ours={provider}"),
        *("-m", address.model, QUESTION),
    )
    return Command(argv, place.environ({"TOKEN": address.token}))


def _claude_code(place: Place, address: Address) -> Command:
    argv = (place.program("claude"), "-p", QUESTION, "--model", address.model, "--allowedTools", "Bash")
    told = {
        "ANTHROPIC_BASE_URL": address.origin,
        "ANTHROPIC_AUTH_TOKEN": address.token,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    return Command(argv, place.environ(told))


def _opencode(place: Place, address: Address) -> Command:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": f"{address.origin}/v1", "apiKey": address.token},
        "models": {address.model: {"name": address.model}},
    }
    settings = {
        "autoupdate": False,
        "share": "disabled",
        "permission": "allow",
        "provider": {"ours": provider},
        "small_model": f"ours/{address.model}",
    }
    argv = (place.program("opencode"), "run", "--title", "notes", "-m", f"ours/{address.model}", QUESTION)
    told = {"OPENCODE_CONFIG_CONTENT": json.dumps(settings), "OPENCODE_DISABLE_MODELS_FETCH": "1"}
    return Command(argv, place.environ(told))


def _continue(place: Place, address: Address) -> Command:
    model = {
        "name": "ours",
        "provider": "openai",
        "model": address.model,
        "roles": ["chat"],
        "apiBase": f"{address.origin}/v1",
        "apiKey": address.token,
        "capabilities": ["tool_use"],
    }
    config = place.home / "config.yaml"  # JSON is YAML
    config.write_text(json.dumps({"name": "ours", "version": "1.0.0", "schema": "v1", "models": [model]}))
    argv = (place.program("cn"), "--config", str(config), "--auto", "-p", QUESTION)
    return Command(argv, place.environ({"CONTINUE_TELEMETRY_ENABLED": "0"}))


_READ_NOTE: Final = ("read_note", {"name": "note.txt"})
_SHOW: Final = {"command": "cat note.txt", "description": "Show the note"}

CLIENTS: Final = (
    Client("openai-node-chat", ("openai@7.59.0",), "chat", _script("openai_chat.mjs"), _READ_NOTE),
    Client(
        "openai-node-responses", ("openai@7.59.0",), "responses", _script("openai_responses.mjs"), _READ_NOTE
    ),
    Client("openai-python-chat", (), "chat", _script("openai_chat.py"), _READ_NOTE),
    Client("openai-python-responses", (), "responses", _script("openai_responses.py"), _READ_NOTE),
    Client("anthropic-node", ("@anthropic-ai/sdk@1.14.0",), "messages", _script("anthropic.mjs"), _READ_NOTE),
    Client("anthropic-python", (), "messages", _script("anthropic_messages.py"), _READ_NOTE),
    Client(
        "ai-sdk",
        ("ai@6.0.326", "@ai-sdk/openai-compatible@2.0.92", "zod@4.6.7"),
        "chat",
        _script("ai_sdk.mjs"),
        _READ_NOTE,
    ),
    Client(
        "codex", ("@openai/codex@0.171.0",), "responses", _codex, ("exec_command", {"cmd": "cat note.txt"})
    ),
    Client("opencode", ("opencode-ai@1.18.33",), "chat", _opencode, ("bash", _SHOW)),
    Client(
        "continue", ("@continuedev/cli@1.5.47",), "chat", _continue, ("Bash", {"command": "cat note.txt"})
    ),
    Client(
        "claude-code",
        ("@anthropic-ai/claude-code@2.1.332",),
        "messages",
        _claude_code,
        ("Bash", _SHOW),
        note="its own licence: run as a test tool, never shipped",
    ),
)
