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


class CallTrace(NamedTuple):
    """The function calls that a piece of code made, in order.

    Attributes:
        calls: The file and the function of each call.
    """

    calls: tuple[tuple[str, str], ...]

    @property
    def function_count(self) -> int:
        """The number of different functions that were called."""
        return len(set(self.calls))

    @property
    def file_count(self) -> int:
        """The number of different files that have these functions."""
        return len({file for file, _ in self.calls})

    @property
    def file_switch_count(self) -> int:
        """How often a call is in another file than the previous call."""
        return sum(before != after for (before, _), (after, _) in pairwise(self.calls))


class BoundedMetric(NamedTuple):
    """A measured number of calls, files or lines, and the largest value that is allowed for it."""

    name: str
    value: int
    bound: int

    @property
    def is_within_bound(self) -> bool:
        """Whether the number is at most the largest value that is allowed."""
        return self.value <= self.bound


class TracedCallKind(NamedTuple):
    """A kind of model call to be traced, such as a failover.

    Attributes:
        invoke: Makes the call.
        replies: The provider's replies, in order.
        chain: The endpoints of the feature that is called.
        calls: The most function calls that are allowed.
        files: The most different files that are allowed.
        moves: The most switches from file to file that are allowed.
    """

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
    "plain call": TracedCallKind(lambda model: model.invoke("Hello"), (_ANSWER,), _ALONE, 147, 22, 55),
    "asynchronous call": TracedCallKind(
        lambda model: asyncio.run(model.ainvoke("Hello")), (_ANSWER,), _ALONE, 208, 27, 104
    ),
    "stream of one chunk": TracedCallKind(
        lambda model: list(model.stream("Hello")), (_ANSWER,), _ALONE, 406, 27, 176
    ),
    "structured call": TracedCallKind(
        lambda model: model.with_structured_output(_Greeting).invoke("Hello"),
        (_ANSWER,),
        _ALONE,
        167,
        27,
        66,
    ),
    "failover": TracedCallKind(
        lambda model: model.invoke("Hello"), (*_FAILURES, _ANSWER), _CHAIN, 1181, 45, 312
    ),
}


def trace_calls(run: Callable[[], object], root: Path = FACADE, excluded: Path = KIT) -> CallTrace:
    """Execute ``run``, and record the function calls in files below ``root``, in this thread only.

    Args:
        run: The code to trace.
        root: The folder whose files are recorded.
        excluded: A folder below ``root`` whose files are not recorded.
    """
    calls: list[tuple[str, str]] = []
    counted, ignored = f"{root}/", f"{excluded}/"

    def note(frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(counted) and not file.startswith(ignored):
            calls.append((file.removeprefix(counted), frame.f_code.co_qualname))

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return CallTrace(tuple(calls))


def find_shortest_trace(kind: TracedCallKind) -> CallTrace:
    """Trace a kind of call `ROUNDS` times, each time with a new, warmed-up `Patchbay`, and return the shortest trace."""
    return min((_trace_once(kind) for _ in range(ROUNDS)), key=lambda trace: len(trace.calls))


def _trace_once(kind: TracedCallKind) -> CallTrace:
    with LoopbackProvider() as provider:
        patchbay = loopback_patchbay(provider, {"greet": kind.chain}, time=VirtualTime().time)
        with use(patchbay):
            model = get_llm("greet")
            provider.script(*[_ANSWER] * 3)
            for _ in range(3):
                kind.invoke(model)
            provider.script(*kind.replies)
            traced = trace_calls(lambda: kind.invoke(model))
        patchbay.close()
    return traced


def parse_documented_files(page: str) -> tuple[str, ...]:
    """Get from the text of `ARCHITECTURE` the files that one has to read to understand a model call, in order.

    They are the items of the page's numbered list, such as ``1. `clients.py```.
    """
    return tuple(_LISTED.findall(page))


def count_lines(files: Iterable[Path]) -> int:
    """Count the lines of all ``files``."""
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def find_import_cycles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Find import cycles: groups of modules that import one another, directly or through others.

    Args:
        imports: For each module, the modules that it imports.
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


def collect_backend_imports() -> dict[str, set[str]]:
    """Get the imports among the modules of ``backend`` except its tests, including imports for type checking only."""
    graph = grimp.build_graph("backend", exclude_type_checking_imports=False, cache_dir=None)
    return {
        module: graph.find_modules_directly_imported_by(module)
        for module in graph.modules
        if not module.startswith("backend.tests")
    }


def measure_code_metrics() -> Iterator[BoundedMetric]:
    """Measure calls, files and lines, and yield each number with the largest value that is allowed."""
    for name, kind in KINDS.items():
        found = find_shortest_trace(kind)
        yield BoundedMetric(f"{name}: calls", len(found.calls), kind.calls)
        yield BoundedMetric(f"{name}: files", found.file_count, kind.files)
        yield BoundedMetric(f"{name}: moves between files", found.file_switch_count, kind.moves)
    listed = parse_documented_files(ARCHITECTURE.read_text(encoding="utf-8"))
    yield BoundedMetric("spine: lines", count_lines(FACADE / file for file in listed), 4_980)
    yield BoundedMetric("facade with its testing kit: lines", count_lines(FACADE.rglob("*.py")), 37_700)
    found_circles = find_import_cycles(collect_backend_imports())
    yield BoundedMetric("modules that import each other, types included", sum(map(len, found_circles)), 0)


def _print_path(traced: CallTrace) -> None:
    """Print the path of a call: each file when it is entered, and the functions called in it."""
    before = None
    for file, function in traced.calls:
        sys.stdout.write(f"\n  {file}: {function}" if file != before else f", {function}")
        before = file
    sys.stdout.write("\n")


def main(arguments: list[str]) -> int:
    """Print every measured number with the largest value that is allowed.

    With ``-v``, also prints the functions that each kind of call runs through, and the import cycles.

    Returns:
        The exit status: 1 if a number is too large, else 0.
    """
    warnings.simplefilter("ignore")
    kept = True
    for figure in measure_code_metrics():
        kept = kept and figure.is_within_bound
        mark = "" if figure.is_within_bound else "  TOO MANY"
        sys.stdout.write(f"{figure.name:50} {figure.value:6} of {figure.bound:6}{mark}\n")
    if "-v" in arguments:
        for name, kind in KINDS.items():
            sys.stdout.write(f"\n{name}:")
            _print_path(find_shortest_trace(kind))
        for circle in find_import_cycles(collect_backend_imports()):
            sys.stdout.write(f"\ncircle: {', '.join(circle)}\n")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
