"""Ctrl-C in a synchronous call that is hedged, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from backend.utils.llm.testing import Hang, Text, Trickle
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.utils.llm.testing import LoopbackProvider

ROOT = Path(__file__).parents[3]
FIRST, SECOND = "gpt-6-luna", "gemini-3.5-flash-lite"
CALL = """
import signal
import sys
import threading
from backend.tests.fakes.hedging import learn
from backend.utils.llm import Patchbay, Table
from backend.utils.llm.testing.patchbays import HOUSE_KEYS

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin without
patchbay = Patchbay(Table(text=sys.argv[1], environ=HOUSE_KEYS))
learn(patchbay, 0.01)
model = patchbay.get_llm("f")
try:
    if sys.argv[2] == "invoke":
        model.invoke("hi")
    for chunk in model.stream("hi"):
        print(chunk.text, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.stdin.read()
    patchbay.close()
    print(*(thread.name for thread in threading.enumerate()))
    raise
"""
SOON = 45.0
"""Seconds; it takes two on a machine that does nothing else."""


@contextmanager
def calling(provider: LoopbackProvider, how: str) -> Iterator[subprocess.Popen[str]]:
    """A process that makes a hedged call; once it was interrupted it goes on when its input ends."""
    chain = {"f": [f"openai:{FIRST}", f"gemini:{SECOND}"]}
    table = loopback_table(provider, chain, "[features.f]\nhedge = true")
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", CALL, table, how],
        cwd=ROOT,
        env={"PATH": os.defpath, **HOUSE_KEYS},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def assert_it_ends_as_interrupted(process: subprocess.Popen[str]) -> None:
    threads, complaint = process.communicate(timeout=SOON)
    assert process.returncode == -signal.SIGINT
    assert threads.split() == ["MainThread"]
    assert "KeyboardInterrupt" in complaint.splitlines()
    assert "Exception ignored" not in complaint


def test_an_interrupt_closes_both_requests_of_a_hedged_call(provider: LoopbackProvider) -> None:
    provider.always(Hang())

    with calling(provider, "invoke") as process:
        assert process.stdout
        assert provider.wait_until(lambda requests: len(requests) == 2, timeout_seconds=SOON)
        process.send_signal(signal.SIGINT)

        assert process.stdout.readline() == "interrupted\n"
        assert provider.wait_until(lambda requests: all(request.closed_by_client for request in requests))
        assert_it_ends_as_interrupted(process)


def test_an_interrupt_closes_a_hedged_stream_that_has_begun(provider: LoopbackProvider) -> None:
    provider.always(Hang(), model=FIRST)
    provider.always(Trickle(Text("word " * 2_000, chunks=2_000), 0.05), model=SECOND)

    with calling(provider, "stream") as process:
        assert process.stdout
        assert "word" in process.stdout.readline() + process.stdout.readline()
        process.send_signal(signal.SIGINT)

        assert "interrupted\n" in iter(process.stdout.readline, "")
        assert provider.wait_until(lambda requests: all(request.closed_by_client for request in requests))
        assert_it_ends_as_interrupted(process)
