"""What this process holds: memory, descriptors, threads, objects; and what fresh processes tell of themselves."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[1]
_PAGE_KB = 4
_MOST_ROUNDS = 5


def settled_rss_mb() -> float:
    """Resident memory in megabytes, once what is free was given back: garbage collected, and freed pages returned."""
    for _ in range(_MOST_ROUNDS):
        if not gc.collect():
            break
    _give_back()
    return rss_mb()


def rss_mb() -> float:
    """Resident memory in megabytes, now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * _PAGE_KB / 1024


def _give_back() -> None:
    """Where the C library is glibc. Elsewhere free pages count as held."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def descriptors() -> int:
    """Open files and sockets."""
    return len(list(Path("/proc/self/fd").iterdir())) - 1  # the one that reads the list


def threads() -> int:
    """Threads that run, Python's own."""
    return threading.active_count()


def objects_of(package: str) -> Counter[str]:
    """How many objects of each class of ``package`` the garbage collector knows."""
    found: Counter[str] = Counter()
    for kind in map(type, gc.get_objects()):
        module: object = kind.__module__  # of some, a descriptor
        if isinstance(module, str) and module.startswith(package):
            found[f"{module}.{kind.__qualname__}"] += 1
    return found


def told_by(program: str, *, times: int = 1, environ: Mapping[str, str] | None = None) -> dict[str, float]:
    """What ``program`` prints last in a fresh process, as JSON: the median of each figure over so many runs."""
    runs = [_run(program, environ or {}) for _ in range(times)]
    return {name: median(run[name] for run in runs) for name in runs[0]}


def _run(program: str, environ: Mapping[str, str]) -> dict[str, float]:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, **environ},  # noqa: TID251 - handed on, not read
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"A fresh process failed:\n{done.stderr}")
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told
