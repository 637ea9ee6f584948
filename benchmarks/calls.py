"""What one call costs: ours beside the clients under it, their wrappers, other routers, and HTTP alone.

    PYTHONPATH=. .venv/bin/python -m benchmarks.calls [GROUP …] [--peers PEER …] [--rounds 5] [--seconds 0.2]

Builds the peers' environments where they are not there, starts a provider and a process for each peer, and lets them
take turns. Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from .conductor import Conductor
from .peers import PEERS
from .shapes import Task
from .tables import COUNTED, connections_cell, counter_cells, cpu_cell, latency_cell, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .conductor import Result

BASES = {
    **dict.fromkeys(PEERS, "ChatOpenAI"),
    **dict.fromkeys(("Patchbay, Gemini", "ChatGoogleGenerativeAI"), "ChatGoogleGenerativeAI"),
    **dict.fromkeys(("Patchbay, Anthropic", "ChatAnthropic"), "ChatAnthropic"),
    **dict.fromkeys(("Patchbay, no I/O", "LangChain, no I/O"), "LangChain, no I/O"),
}
"""Whom each peer is set beside: the bare client that does the same work."""


COMPARED = [peer for peer in PEERS if peer != "Patchbay, crowded"]
"""By default. The one left out is ours once more, for those who need two processes of it."""


class Group(NamedTuple):
    """Tasks whose figures stand side by side."""

    title: str
    tasks: Mapping[str, Task]


COUNTERS = "counters"
GROUPS = {
    "plain": Group(
        "Whole answers, asynchronous",
        {
            "c = 1": Task(),
            "c = 16": Task(concurrency=16),
        },
    ),
    "threads": Group(
        "Whole answers, synchronous",
        {
            "c = 1": Task(mode="sync"),
            "c = 16": Task(mode="sync", concurrency=16),
        },
    ),
    "stream": Group(
        "Streams of 50 chunks",
        {
            "c = 1": Task("stream"),
            "c = 16": Task("stream", concurrency=16),
            "c = 16, 1 ms apart": Task("stream", concurrency=16, pace=1),
            "synchronous, c = 1": Task("stream", "sync"),
        },
    ),
    "structured": Group(
        "Structured answers",
        {
            "c = 1": Task("structured"),
            "c = 16": Task("structured", concurrency=16),
            "synchronous, c = 1": Task("structured", "sync"),
        },
    ),
    "tools": Group(
        "Answers that call one of two tools",
        {
            "c = 1": Task("tools"),
            "c = 16": Task("tools", concurrency=16),
            "synchronous, c = 1": Task("tools", "sync"),
        },
    ),
    "long": Group(
        "A prompt of 100 KB, c = 1",
        {
            "whole": Task(prompt=100_000),
            "stream": Task("stream", prompt=100_000),
            "structured": Task("structured", prompt=100_000),
        },
    ),
    COUNTERS: Group("One call, counted", {"whole": Task(), "stream": Task("stream")}),
    # The last, because pools that have been so full are slower afterwards.
    "crowd": Group(
        "Whole answers, many in flight, each after 20 ms",
        {
            "c = 64": Task(concurrency=64, latency=20),
            "c = 256": Task(concurrency=256, latency=20),
            "synchronous, c = 64": Task(mode="sync", concurrency=64, latency=20),
            "synchronous, c = 256": Task(mode="sync", concurrency=256, latency=20),
        },
    ),
}
VIEWS: dict[str, Callable[[Result, Result], str]] = {
    "processor time beside the bare client's (of one call, at best)": cpu_cell,
    "milliseconds, median / 99 of 100": lambda result, _base: latency_cell(result),
    "connections opened for each call": lambda result, _base: connections_cell(result),
}
_PACKAGES = ("langchain-openai", "langchain-google-genai", "langchain-core", "openai", "google-genai")


def main() -> None:
    """Measure and print group after group."""
    wanted = _arguments()
    peers = [peer for peer in PEERS if peer in {*wanted.peers, *(BASES[peer] for peer in wanted.peers)}]
    print(f"Python {sys.version.split()[0]}, {', '.join(f'{name} {version(name)}' for name in _PACKAGES)}")
    with Conductor(peers) as conductor:
        for name in wanted.groups:
            if name == COUNTERS:
                _print_counters(conductor, GROUPS[name], peers)
            else:
                _print_group(conductor, GROUPS[name], peers, wanted)


def _arguments() -> argparse.Namespace:
    groups = list(GROUPS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calls", description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(groups)}; by default all")
    parser.add_argument("--peers", nargs="+", default=COMPARED, metavar="PEER", help=f"of {'; '.join(PEERS)}")
    parser.add_argument("--rounds", type=int, default=5, help="how often each peer has its turn")
    parser.add_argument("--seconds", type=float, default=0.2, help="processor time of one turn")
    wanted = parser.parse_args()
    wanted.groups = wanted.groups or groups
    for given, known in ((wanted.groups, groups), (wanted.peers, PEERS)):
        if unknown := sorted({*given} - {*known}):
            parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return wanted


def _print_group(
    conductor: Conductor, group: Group, peers: Sequence[str], wanted: argparse.Namespace
) -> None:
    measured: dict[str, dict[str, Result]] = {}
    for title, task in group.tasks.items():
        measured[title] = conductor.measure(task, peers, rounds=wanted.rounds, seconds=wanted.seconds)
    for what, cell in VIEWS.items():
        rows = [
            [peer, *(cell(results[peer], results[BASES[peer]]) for results in measured.values())]
            for peer in peers
        ]
        print(f"\n### {group.title}: {what}\n\n{table(['', *measured], rows)}", flush=True)


def _print_counters(conductor: Conductor, group: Group, peers: Sequence[str]) -> None:
    for title, task in group.tasks.items():
        rows = [[peer, *counter_cells(conductor.count(task, peer))] for peer in peers]
        print(f"\n### {group.title}: {title}\n\n{table(['', *COUNTED], rows)}", flush=True)


if __name__ == "__main__":
    main()
