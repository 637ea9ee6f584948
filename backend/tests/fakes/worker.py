"""A worker that does as its place in a folder says, and writes down there what it is told: for tests of its supervisor.

    python worker.py FOLDER

``FOLDER/behaviour`` holds one of ``serve``, ``fail``, ``deaf``, ``hang``, ``talk``, ``retire``; each worker writes its own file ``FOLDER/PID``.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def main(folder: Path) -> int:
    """Be a worker."""
    behaviour = (folder / "behaviour").read_text()
    if behaviour == "fail":
        return 1
    if behaviour == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    heard = (folder / str(os.getpid())).open("a", buffering=1)
    heard.write(sys.stdin.readline())
    if behaviour == "hang":
        signal.pause()
    if behaviour == "talk":
        sys.stdout.write("x" * 200_000)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if behaviour == "retire":
        signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"stopping"))
    for line in sys.stdin:
        heard.write(line)
        if '"stop"' in line and behaviour != "deaf":
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
