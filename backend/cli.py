"""The command line: lists each command with the first sentence of its help, and imports it on first use.

A command's module in `backend.commands` is imported only when the command is used, so ``--help`` is fast. Every command
takes ``--json``. Errors go to standard error, and the exit status is one of `docs/reference/command-line.md`.
"""

from __future__ import annotations

import io
import sys
from typing import Final

from backend.commands.groups import make_lazy_app

SUMMARIES: Final = {
    "now": "Show whether a running server works, and whether failures are its own or a provider's; exit 1 if anything is bad.",
    "features": "List every feature, with the endpoints that it runs on.",
    "explain": "Show where a call of FEATURE would run now, and why; exit 1 if nothing can serve it.",
    "call": "Call FEATURE with TEXT, stream the answer, and print its receipt.",
    "agent": "Runs of agents, and what waits for a person's yes.",
    "check": "Print all errors in a table and warnings of what may go wrong; exit 1 if there are errors.",
    "model": "Show what a model can do, until when it is on sale, and the source of each value; exit 1 if the model is unknown.",
    "models": "List every model of the table: until when it is on sale, what it can do, what it costs, and which features use it.",
    "usage": "What calls used and cost, by feature if nothing else is asked for.",
    "budget": "What each user, tenant, feature and owner of keys may spend.",
    "override": "What serves a feature for a while, or an endpoint that serves nobody.",
    "config": "Show the table in force: its file, problems and overrides, and its hash in each process with recent calls.",
    "doctor": "Check whether Patchbay can run on this machine, and say how to repair what is wrong.",
    "serve": "Start the server, run the sample conversation through it, and keep serving.",
    "tokens": "Access tokens, and the sessions of browsers.",
    "keys": "The master keys, which lock the keys that users store.",
    "audit": "What persons decided, in chains of hashes that signed heads join.",
    "lift": "Copy the facade into PROJECT as the package utils.llm, or update an earlier copy to this version.",
    "types": "Write a Python module with the names of all features as a Literal type, so that type checkers find misspelt names.",
    "init": "Write a first table, for the models of a code base or for one sample feature.",
    "import-config": "Convert a configuration of LiteLLM, LMI or TensorZero to a table, and print it; exit 1 if that fails.",
}
"""The first sentence of each command's help, in the order in which the help lists them."""

_HELP: Final = "Patchbay: name the feature, not the model."

app = make_lazy_app(SUMMARIES, help=_HELP, add_completion=False)
"""``python -m backend``. A shell completes one word, so it is the program ``patchbay`` that it can complete."""


def main() -> None:
    """Run the command line. Called by ``python -m backend``."""
    _tolerate()
    app()


def patchbay() -> None:
    """Run the command line under the program name ``patchbay``. Called by the shell script `backend/patchbay`."""
    _tolerate()
    make_lazy_app(SUMMARIES, help=_HELP, add_completion=True)(prog_name="patchbay")


def _tolerate() -> None:
    """Print characters that the terminal cannot show as their escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
