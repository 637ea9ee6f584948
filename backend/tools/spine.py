"""Measures how much code a call runs through, and how much one has to read to understand it, each with a bound.

``make spine`` prints a table and exits with 1 if a figure is above its bound. Only our own frames are counted: those of
the facade without its testing kit, with a loopback provider, after warm-up calls. A bound is the best figure so far:
lower it when the code becomes shorter, and think twice before raising one.

    python -m backend.tools.spine [-v]
"""

from __future__ import annotations

import asyncio
import re
import sys
import warnings
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import grimp
from pydantic import BaseModel

from backend.utils.llm import get_llm, use
from backend.utils.llm.testing import LoopbackProvider, Status, Text
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from langchain_core.language_models import BaseChatModel

    from backend.utils.llm.testing.replies import Reply

ROOT: Final = Path(__file__).parents[2]
FACADE: Final = ROOT / "backend" / "utils" / "llm"
KIT: Final = FACADE / "testing"
ARCHITECTURE: Final = ROOT / "docs" / "architecture.md"

ROUNDS: Final = 8
"""The number of traces of each kind, of which the shortest counts: the first has imports, and a stream's pieces come in more reads or fewer."""
_LISTED: Final = re.compile(r"^\d+\. `([a-z_/0-9]+\.py)`", re.MULTILINE)


class Trace(NamedTuple):
    """The calls that a piece of code made, in order: the file and the function of each."""

    calls: tuple[tuple[str, str], ...]

    @property
    def functions(self) -> int:
        """The number of different functions called."""
        return len(set(self.calls))

    @property
    def files(self) -> int:
        """The number of different files with these functions."""
        return len({file for file, _ in self.calls})

    @property
    def moves(self) -> int:
        """How often the trace goes from one file to another, in calls that follow one another."""
        return sum(before != after for (before, _), (after, _) in pairwise(self.calls))


class Figure(NamedTuple):
    """A measured number, with the largest value that it may have."""

    name: str
    value: int
    bound: int

    @property
    def is_within_bound(self) -> bool:
        """Whether the number is within its bound."""
        return self.value <= self.bound


class Kind(NamedTuple):
    """A kind of call: what is invoked, how the provider replies, and the bounds of its trace."""

    invoke: Callable[[BaseChatModel], object]
    replies: tuple[Reply, ...]
    chain: tuple[str, ...]
    calls: int
    files: int
    moves: int


class _Greeting(BaseModel):
    text: str


_ANSWER: Final = Text('{"text": "hi"}')
_FAILURES: Final = (Status(503),) * 3
_ALONE, _CHAIN = ("openai:gpt-6-luna",), ("openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite")
KINDS: Final = {
    "plain call": Kind(lambda model: model.invoke("Hello"), (_ANSWER,), _ALONE, 147, 22, 55),
    "asynchronous call": Kind(
        lambda model: asyncio.run(model.ainvoke("Hello")), (_ANSWER,), _ALONE, 208, 27, 104
    ),
    "stream of one chunk": Kind(lambda model: list(model.stream("Hello")), (_ANSWER,), _ALONE, 406, 27, 176),
    "structured call": Kind(
        lambda model: model.with_structured_output(_Greeting).invoke("Hello"),
        (_ANSWER,),
        _ALONE,
        167,
        27,
        66,
    ),
    "failover": Kind(lambda model: model.invoke("Hello"), (*_FAILURES, _ANSWER), _CHAIN, 1181, 45, 312),
}


def trace(run: Callable[[], object], root: Path = FACADE, without: Path = KIT) -> Trace:
    """Run ``run`` and record every call of a function below ``root``, in this thread.

    Args:
        run: The code to trace.
        root: The folder of the files that count.
        without: A folder below ``root`` that does not count.
    """
    calls: list[tuple[str, str]] = []
    counted, ignored = f"{root}/", f"{without}/"

    def note(frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(counted) and not file.startswith(ignored):
            calls.append((file.removeprefix(counted), frame.f_code.co_qualname))

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return Trace(tuple(calls))


def trace_kind(kind: Kind) -> Trace:
    """The shortest of `ROUNDS` traces of a kind of call, each on a fresh and warm patchbay."""
    return min((_trace_once(kind) for _ in range(ROUNDS)), key=lambda trace: len(trace.calls))


def _trace_once(kind: Kind) -> Trace:
    with LoopbackProvider() as provider:
        patchbay = loopback_patchbay(provider, {"greet": kind.chain}, time=VirtualTime().time)
        with use(patchbay):
            model = get_llm("greet")
            provider.script(*[_ANSWER] * 3)
            for _ in range(3):
                kind.invoke(model)
            provider.script(*kind.replies)
            traced = trace(lambda: kind.invoke(model))
        patchbay.close()
    return traced


def spine(page: str) -> tuple[str, ...]:
    """The files of the spine in the order in which a page lists them: ``1. `clients.py```, and so on."""
    return tuple(_LISTED.findall(page))


def lines(files: Iterable[Path]) -> int:
    """The total number of lines of ``files``."""
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Find groups of modules that import one another, directly or through others.

    Args:
        imports: The imports of each module.
    """
    reached = {module: _reached(module, imports) for module in imports}
    groups = {
        frozenset(other for other in reached[module] if module in reached.get(other, ()))
        for module in imports
        if module in reached[module]
    }
    return sorted(sorted(group) for group in groups)


def _reached(module: str, imports: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [module]
    while waiting:
        fresh = imports.get(waiting.pop(), set()) - found
        found |= fresh
        waiting += fresh
    return found


def own_imports() -> dict[str, set[str]]:
    """The imports within ``backend`` without its tests, type-only imports included."""
    graph = grimp.build_graph("backend", exclude_type_checking_imports=False, cache_dir=None)
    return {
        module: graph.find_modules_directly_imported_by(module)
        for module in graph.modules
        if not module.startswith("backend.tests")
    }


def figures() -> Iterator[Figure]:
    """Measure everything, and yield each number with its bound."""
    for name, kind in KINDS.items():
        found = trace_kind(kind)
        yield Figure(f"{name}: calls", len(found.calls), kind.calls)
        yield Figure(f"{name}: files", found.files, kind.files)
        yield Figure(f"{name}: moves between files", found.moves, kind.moves)
    listed = spine(ARCHITECTURE.read_text(encoding="utf-8"))
    yield Figure("spine: lines", lines(FACADE / file for file in listed), 5_140)
    yield Figure("facade with its testing kit: lines", lines(FACADE.rglob("*.py")), 36_150)
    found_circles = circles(own_imports())
    yield Figure("modules that import each other, types included", sum(map(len, found_circles)), 0)


def _print_path(traced: Trace) -> None:
    """Print the path of a call: each file when it is entered, and the functions called in it."""
    before = None
    for file, function in traced.calls:
        sys.stdout.write(f"\n  {file}: {function}" if file != before else f", {function}")
        before = file
    sys.stdout.write("\n")


def main(arguments: list[str]) -> int:
    """Print every figure with its bound; with ``-v`` also each call's path, and the circles. 1 if one is above its bound."""
    warnings.simplefilter("ignore")
    kept = True
    for figure in figures():
        kept = kept and figure.is_within_bound
        mark = "" if figure.is_within_bound else "  TOO MANY"
        sys.stdout.write(f"{figure.name:50} {figure.value:6} of {figure.bound:6}{mark}\n")
    if "-v" in arguments:
        for name, kind in KINDS.items():
            sys.stdout.write(f"\n{name}:")
            _print_path(trace_kind(kind))
        for circle in circles(own_imports()):
            sys.stdout.write(f"\ncircle: {', '.join(circle)}\n")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
