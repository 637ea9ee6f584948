"""What a record costs the call that it is of, whole: the observer is told, makes it, and a sink takes it.

    PYTHONPATH=. .venv/bin/python -m benchmarks.ledger_record

A few seconds. Processor time of the calling thread, the best of some rounds; exit code 1 if a line of JSON is dearer than what
is asked for. What is told is a real attempt, of a call to a loopback provider.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import opentelemetry.trace  # noqa: F401 - where it is imported, the current trace is looked for
from typing_extensions import override

from backend.utils.llm import JsonLinesSink, MemorySink, Table
from backend.utils.llm.execution.observers.base import AttemptObserver
from backend.utils.llm.execution.observers.ledger import LedgerKeyNames, LedgerObserver
from backend.utils.llm.testing import LoopbackProvider
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from backend.utils.llm import LedgerSink

MOST: Final = 25.0
"""Microseconds a row."""
ROWS: Final = 5_000
ROUNDS: Final = 7
SECRET: Final = b"0123456789abcdef"


class Told(AttemptObserver):
    """Keeps what the last attempt's observers were told."""

    last: tuple[Any, ...] = ()

    @override
    def on_ended(self, *told: Any) -> None:
        self.last = told


def attempt() -> tuple[Any, ...]:
    """What observers are told of an answered attempt."""
    told = Told()
    with LoopbackProvider() as provider:
        patchbay = loopback_patchbay(provider, {"f": "openai:gpt-6-luna"}, ledger=MemorySink())
        model, runtime = patchbay.get_llm("f"), patchbay.runtime
        of = runtime.observers.select_observers
        runtime.observers.select_observers = lambda *a, **k: of(*a, **k).with_observer(told)  # type: ignore[method-assign]
        model.invoke("hi")
        patchbay.close()
    return told.last


def microseconds(sink: LedgerSink, told: tuple[Any, ...]) -> float:
    """Processor time of one row."""
    table = Table(text="[profiles.premium]\n[profiles.byok]", environ={})
    observer = LedgerObserver(sink, LedgerKeyNames(SECRET, lambda: table.snapshot))
    took = []
    for _ in range(ROUNDS):
        begun = time.thread_time()
        for _ in range(ROWS):
            observer.on_ended(*told)
        took.append((time.thread_time() - begun) / ROWS * 1e6)
    return min(took)


def main() -> int:
    """Print what a row costs; 1 if that is too much."""
    told = attempt()
    with tempfile.TemporaryDirectory() as folder, JsonLinesSink(Path(folder) / "ledger.jsonl") as lines:
        in_memory, in_file = microseconds(MemorySink(), told), microseconds(lines, told)
    sys.stdout.write(f"a record in memory: {in_memory:.1f} µs\n")
    sys.stdout.write(f"a record as a line of JSON in a file: {in_file:.1f} µs, {MOST:g} at most\n")
    return int(in_file > MOST)


if __name__ == "__main__":
    sys.exit(main())
