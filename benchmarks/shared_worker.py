"""One process of several that share limits: makes calls, and tells what came of them.

    python -m benchmarks.shared_worker '{"table": "…", "environ": {…}, "in_flight": 64, "seconds": 10}'

Waits for a line on its standard input, and prints one JSON document when it is done.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import Any

from backend.utils.llm import Patchbay, Table
from backend.utils.llm.errors import LLMError

LOOK_SECONDS = 0.002


async def calls(patchbay: Patchbay, asked: dict[str, Any]) -> dict[str, Any]:
    """Keep so many calls in flight until the time is up, or so many were made."""
    ends_at = time.monotonic() + asked.get("seconds", 1e9)
    left = iter(range(asked.get("calls", 10**9)))
    outcomes: Counter[str] = Counter()
    took: list[float] = []
    model = patchbay.get_llm("f")

    async def one_after_the_other() -> None:
        while time.monotonic() < ends_at and next(left, None) is not None:
            began = time.monotonic()
            try:
                await model.ainvoke("hello")
                outcomes["ok"] += 1
            except LLMError as error:
                outcomes[error.code] += 1
            took.append(time.monotonic() - began)
            if pause := asked.get("pause"):
                await asyncio.sleep(pause)

    await asyncio.gather(*(one_after_the_other() for _ in range(asked["in_flight"])))
    return {"outcomes": outcomes, "took": sorted(took)[-20:]}


def when_open(patchbay: Patchbay, asked: dict[str, Any]) -> dict[str, Any]:
    """When this process sees that the endpoint rests; the first of all makes it so."""
    if asked["opens"]:
        model = patchbay.get_llm("f")
        opened: list[float] = []
        patchbay.health.subscribe(
            lambda change: opened.append(time.monotonic()) if change.kind == "opened" else None
        )
        while not opened:
            with suppress(LLMError):
                model.invoke("hello")
        return {"at": opened[0]}
    patchbay.explain("f")
    ends_at = time.monotonic() + asked["seconds"]
    while time.monotonic() < ends_at:
        if any(circuit.kind == "open" for circuit in patchbay.health.list_unhealthy_circuits()):
            return {"at": time.monotonic()}
        time.sleep(LOOK_SECONDS)  # noqa: TID251 - for another process
    return {"at": None}


def main() -> None:
    """Do what is asked."""
    asked = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(process)d %(message)s")
    patchbay = Patchbay(Table(text=asked["table"], environ=asked["environ"]))
    patchbay.warm_up()
    patchbay.explain("f")
    print("ready", flush=True)
    sys.stdin.readline()
    told = when_open(patchbay, asked) if "opens" in asked else asyncio.run(calls(patchbay, asked))
    print(json.dumps(told), flush=True)
    patchbay.close()


if __name__ == "__main__":
    main()
