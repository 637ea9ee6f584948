"""What it costs to begin: imports, the first model, the first answer, the server; and what `get_llm` costs after that.

    PYTHONPATH=. .venv/bin/python -m benchmarks.imports

Each figure is processor time, and resident memory, of a fresh process: the median of five. The facade is measured beyond
pydantic with one model made, and twice: the bare import, which fetches nothing, and the names that product code takes
from it. `get_llm` is measured against a look-up in a dict, in one process, with a caller in the context and without.

Prints a table in Markdown, in about a minute. Exit code 1 if an import of the facade takes 150 ms or more, if the bare
one brings in LangChain or an SDK, or if `get_llm` takes more than twenty look-ups, or sixty with a caller. If an import takes too long, the five
modules that took most of it are named.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import NamedTuple

from .process import ROOT, told_by
from .witness import Witness

TIMES = 5
MOST_IMPORT_MS, GOAL_IMPORT_MS = 150.0, 50.0
MOST_LOOKUPS = {"house": 20.0, "caller": 60.0}
"""A microsecond, and three, on the machine where a look-up takes 50 ns."""
STRANGERS = ("langchain", "langsmith", "openai", "google.genai", "httpx")
NAMES = "from backend.utils.llm import Caller, LLMError, get_llm, use_caller"
BARE = "import backend.utils.llm"

_PYDANTIC = "from pydantic import BaseModel, Field\nclass Model(BaseModel): number: int = Field(0, ge=0)"
_BEGIN = """
import json, sys, time
from benchmarks.process import rss_mb
def now(): return time.process_time() * 1000, rss_mb(), time.perf_counter() * 1000
def tell(before, after, **more):
    ms, mb, wall = (b - a for a, b in zip(before, after))
    print(json.dumps({"ms": ms, "mb": mb, "wall": wall, **more}))
"""
_STRANGERS = f"sum(name.startswith({STRANGERS!r}) for name in sys.modules)"
_TABLE = """
[providers.alpha]
api = "openai"
base_url = "{origin}/alpha/v1"
api_key_env = "ALPHA"
[providers.gamma]
api = "gemini"
base_url = "{origin}/gamma"
api_key_env = "GAMMA"
[profiles.premium]
openai = "alpha:a1"
gemini = "gamma:g1"
[profiles.byok]
extends = "premium"
"""
_SERVER = """
import asyncio, pathlib, tempfile
before = now()
import uvicorn
from backend.main import create_app
from backend.settings import Settings
async def until_ready(server):
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.001)
    tell(before, now(), strangers={strangers})
    server.should_exit = True
    await serving
with tempfile.TemporaryDirectory() as folder:
    settings = Settings(data_dir=pathlib.Path(folder), port=0)
    app = create_app(settings, announce=lambda token: None)
    config = uvicorn.Config(app, port=0, log_level="critical")
    asyncio.run(until_ready(uvicorn.Server(config)))
""".replace("{strangers}", _STRANGERS)
_LOOKUPS = """
import json, timeit
from backend.utils.llm import Caller, Patchbay, Table, get_llm, use, use_caller
held = {("openai", False, None): 1}
def ns(run): return min(timeit.repeat(run, number=20_000, repeat=7)) / 20_000 * 1e9
def lookup(): return held.get(("openai", False, None))
def hit(): return get_llm("openai")
with use(Patchbay(Table(text=TABLE, environ=KEYS))):
    bare, house = ns(lookup), ns(hit)
    with use_caller(Caller(user_id="u1", keys={"alpha": "alpha-u1"})):
        print(json.dumps({"lookup": bare, "house": house, "caller": ns(hit)}))
"""


class Start(NamedTuple):
    """What one way to begin costs.

    Attributes:
        wall: Milliseconds by the clock.
        strangers: Modules of LangChain, of SDKs and of HTTP clients that are loaded then.
    """

    ms: float
    mb: float
    wall: float
    strangers: float


def main() -> int:
    """Measure, print, judge."""
    starts = {
        "pydantic, with a model": _import("", _PYDANTIC),
        f"`{BARE}`, beyond pydantic": _import(_PYDANTIC, BARE),
        f"`{NAMES}`, beyond pydantic": _import(_PYDANTIC, NAMES),
    }
    with Witness() as witness:
        given = f"TABLE, KEYS = {_TABLE.format(origin=witness.origin)!r}, {_keys()!r}\n"
        starts |= {
            "the first `get_llm`, beyond that": _start(given, _model("openai")),
            "the first answer of OpenAI's API, beyond that": _start(given + _model("openai"), _answer),
            "the first answer of Gemini's API, beyond that": _start(given + _model("gemini"), _answer),
        }
        hits = told_by(given + _LOOKUPS, times=TIMES)
    starts["the server, from nothing to ready"] = Start(**told_by(_BEGIN + _SERVER, times=TIMES))
    _print(starts, hits)
    faults = _faults(starts, hits)
    print(f"\nMissed: {'; '.join(faults)}." if faults else "\nKept.")
    if any("ms" in fault for fault in faults):
        print(_most_expensive())
    return 1 if faults else 0


# Programs of fresh processes ---------------------------------------------------------------------------------------------


def _import(before: str, what: str) -> Start:
    return _measured(f"{before}\nbefore = now()\n{what}\nafter = now()")


def _start(given: str, what: str) -> Start:
    imports = "from backend.utils.llm import Caller, LLMError, Patchbay, Table, get_llm, use_caller"
    return _measured(f"{imports}\n{given}\nbefore = now()\n{what}\nafter = now()")


def _measured(program: str) -> Start:
    return Start(**told_by(f"{_BEGIN}{program}\ntell(before, after, strangers={_STRANGERS})", times=TIMES))


def _model(feature: str) -> str:
    return f"model = Patchbay(Table(text=TABLE, environ=KEYS)).get_llm({feature!r})\n"


_answer = 'assert model.invoke("plain #1 for house").text == "the answer to 1"'


def _keys() -> dict[str, str]:
    return {"ALPHA": "alpha-house", "GAMMA": "gamma-house"}


# What they told -----------------------------------------------------------------------------------------------------------


def _print(starts: dict[str, Start], hits: dict[str, float]) -> None:
    print("| to begin | CPU ms | wall ms | RSS MB | modules of LangChain, SDKs, HTTP clients |")
    print("|---|---|---|---|---|")
    for title, start in starts.items():
        print(f"| {title} | {start.ms:.0f} | {start.wall:.0f} | {start.mb:.1f} | {start.strangers:.0f} |")
    print("\n| `get_llm`, again | ns | look-ups in a dict |")
    print("|---|---|---|")
    titles = {"lookup": "a look-up", "house": "without a caller", "caller": "with a caller in the context"}
    for name, title in titles.items():
        print(f"| {title} | {hits[name]:.0f} | {hits[name] / hits['lookup']:.1f} |")


def _faults(starts: dict[str, Start], hits: dict[str, float]) -> list[str]:
    """Which gates are missed."""
    facade = {title: start for title, start in starts.items() if title.startswith(("`import", "`from"))}
    slow = [
        f"{title} takes {start.ms:.0f} ms" for title, start in facade.items() if start.ms >= MOST_IMPORT_MS
    ]
    brought = next(iter(facade.values())).strangers
    strangers = [f"`{BARE}` brings in {brought:.0f} modules of others"] if brought else []
    lookups = {name: hits[name] / hits["lookup"] for name in MOST_LOOKUPS}
    dear = [
        f"get_llm ({name}) is {many:.0f} look-ups"
        for name, many in lookups.items()
        if many > MOST_LOOKUPS[name]
    ]
    return [*slow, *strangers, *dear]


def _most_expensive(most: int = 5) -> str:
    """The modules that took longest themselves, without those that they import."""
    program = f"{_PYDANTIC}\nprint('now', file=__import__('sys').stderr)\n{NAMES}"
    command = [sys.executable, "-X", "importtime", "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    lines = re.findall(r"import time: +(\d+) \| +\d+ \| +(\S+)", done.stderr.partition("\nnow\n")[2])
    found = sorted(((int(micros), name) for micros, name in lines), reverse=True)[:most]
    return "\n".join(f"- {name}: {micros / 1000:.1f} ms" for micros, name in found)


if __name__ == "__main__":
    sys.exit(main())
