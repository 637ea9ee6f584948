"""The command line: lists each command with the first sentence of its help, and imports it on first use.

A command's module in `backend.commands` is imported only when the command is used, so ``--help`` is fast. Every command
takes ``--json``. Errors go to standard error, and the exit status is one of `docs/reference/command-line.md`.
"""

from __future__ import annotations

import io
import sys
from typing import Final

from backend.commands.groups import deferred

SUMMARIES: Final = {
    "now": "Ask a running server whether it is us or them: what rests and why, what is nearly full; exit 1 if anything is bad.",
    "features": "Every feature, and what it runs on.",
    "explain": "Show where a call of FEATURE would run now, and why; exit 1 if nothing can serve it.",
    "call": "Call FEATURE with TEXT, stream the answer, and print its receipt.",
    "agent": "Runs of agents, and what waits for a person's yes.",
    "check": "Say everything that is wrong with a table, and warn of what may go wrong; exit 1 if anything is wrong.",
    "model": "Show what a model can do, until when it is on sale, and where each value comes from; exit 1 if nobody knows it.",
    "models": "Every model of the table: until when it is on sale, what it can do, what it costs, and what uses it.",
    "usage": "What calls used and cost, by feature if nothing else is asked for.",
    "budget": "What each user, tenant, feature and owner of keys may spend.",
    "override": "What serves a feature for a while, or an endpoint that serves nobody.",
    "config": "The table in force: its file, its hash in every process that made calls within the hour, its overrides, its problems.",
    "doctor": "Look whether Patchbay can run here, and say what to do where it cannot.",
    "serve": "Start the server, run the sample conversation through it, and stay up.",
    "tokens": "Access tokens, and the sessions of browsers.",
    "keys": "The master keys, which lock the keys that users store.",
    "audit": "What persons decided, in chains of hashes that signed heads join.",
    "lift": "Copy the facade into PROJECT, as utils/llm, or bring the copy there to this version.",
    "types": "Write the names of the features as a Literal type, so that a misspelt one is found before it runs.",
    "init": "Write a first table: of a code base's models, with a report of what it could not carry, or of one feature to begin with.",
    "import-config": "Print a configuration of LiteLLM, LMI or TensorZero as a table, and report what is not in it; exit 1 if it cannot be one.",
}
"""The first sentence of each command's help, in the order in which the help lists them."""

_HELP: Final = "Patchbay: name the feature, not the model."

app = deferred(SUMMARIES, help=_HELP, add_completion=False)
"""``python -m backend``. A shell completes one word, so it is the program ``patchbay`` that it can complete."""


def main() -> None:
    """Run the command line as ``python -m backend``."""
    _tolerate()
    app()


def patchbay() -> None:
    """Run the command line as the program ``patchbay``, which `backend/patchbay` starts."""
    _tolerate()
    deferred(SUMMARIES, help=_HELP, add_completion=True)(prog_name="patchbay")


def _tolerate() -> None:
    """Print characters that the terminal cannot show as their escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
