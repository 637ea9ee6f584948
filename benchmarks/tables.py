"""Tables in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .conductor import Cannot

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .conductor import Result
    from .counters import Counters

COUNTED = ("Python calls", "C calls", "peak kB", "blocks kept", "million instructions")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column is for names, the others for figures."""
    lines = [head, ["---", *(["---:"] * (len(head) - 1))], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cpu_cell(result: Result, base: Result) -> str:
    """Processor time of one call beside the base's, and in milliseconds."""
    if isinstance(result, Cannot):
        return result.reason
    best = f"{result.best * 1e3:.2f} ms"
    if isinstance(base, Cannot):
        return best
    return f"{result.ratio_to(base):.2f} ({best})"


def latency_cell(result: Result) -> str:
    """Milliseconds from the question to the answer's end: the median, and the slowest of a hundred."""
    if isinstance(result, Cannot):
        return result.reason
    return f"{result.typical('p50') * 1e3:.1f} / {result.typical('p99') * 1e3:.1f}"


def connections_cell(result: Result) -> str:
    """Connections that were opened for each call."""
    return result.reason if isinstance(result, Cannot) else f"{result.typical('connections'):.2f}"


def counter_cells(counted: Counters | Cannot) -> list[str]:
    """In the order of `COUNTED`."""
    if isinstance(counted, Cannot):
        return [counted.reason] * len(COUNTED)
    instructions = counted.instructions
    return [
        f"{counted.python_calls:.0f}",
        f"{counted.c_calls:.0f}",
        f"{counted.peak_kb:.0f}",
        f"{counted.blocks_kept:.1f}",
        "not available" if instructions is None else f"{instructions:.2f}",
    ]
