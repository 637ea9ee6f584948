"""See the package."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvicorn
from uuid_utils import uuid7

from backend.main import create_app
from backend.routers.rendering import MENU
from backend.settings import Settings
from backend.tests.fakes.records import record
from backend.utils.llm import Table
from backend.utils.llm.failures import FailureCategory
from backend.watchers import Watchers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from backend.utils.llm import Patchbay
    from backend.utils.llm.ledger.record import AttemptRecord

FOLDER: Final = Path(".benchmarks/screens")
MODULES: Final = FOLDER.resolve() / "node_modules"
SCRIPT: Final = Path(__file__).with_name("shots.cjs").resolve()
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
KEYS: Final = {"OPENAI_API_KEY": "k", "GEMINI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}
LAUNCH: Final = "of-the-pictures"
MADE: Final = 4_000
"""Attempts of a busy quarter of an hour."""
QUARTER: Final = 14 * 60 * 10**6
PAGES: Final = {
    **{place.name: place.path for place in MENU},
    "explained": "/explain?feature=conv_folder&tokens=3000&tools=true",
}


def absent() -> str | None:
    """What is missing for pictures; None if nothing is."""
    if not any(map(shutil.which, BROWSERS)):
        return f"No browser is here: one of {', '.join(BROWSERS)} is wanted (apt-get install chromium)."
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    return f"{' and '.join(missing)} wanted, for playwright-core." if missing else None


def install() -> None:
    """Have playwright-core in `FOLDER`."""
    if not (MODULES / "playwright-core").is_dir():
        FOLDER.mkdir(parents=True, exist_ok=True)
        argv = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(FOLDER), "playwright-core@1"]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - nothing of it is given


def happen(watchers: Watchers, facade: Patchbay) -> None:
    """A busy quarter of an hour, in which one provider is in trouble and another wants fewer requests."""
    features = {name: feature for name, feature in facade.get_qos_info().features.items() if feature.chain}
    chance = random.Random(4)  # noqa: S311 - no secret
    now = int(time.time() * 1e6)
    for at in sorted(now - int(chance.random() ** 1.6 * QUARTER) for _ in range(MADE)):
        name = chance.choice(list(features)[:18])
        watchers.append(_attempt(chance, at, name, chance.choice(features[name].chain[:2]), facade))
    for candidate in facade.explain("conv_structure").candidates[-1:]:
        for _ in range(6):
            facade.health.record_failure(candidate.endpoint_circuit, FailureCategory.SERVER)
    facade.health.start_cooldown(
        facade.explain("conv_folder").candidates[0].endpoint_circuit, 240, FailureCategory.RATE_LIMIT
    )


def _attempt(chance: random.Random, at: int, feature: str, endpoint: str, facade: Patchbay) -> AttemptRecord:
    is_bad = chance.random() < (0.4 if endpoint.startswith("anthropic") else 0.01)
    duration = int(chance.lognormvariate(0.1, 0.6) * 1e6)
    return record(
        call=str(uuid7(timestamp=at // 10**6, nanos=0)),
        at=at,
        duration=duration,
        first_byte=duration // 4,
        first_token=duration // 3,
        feature=feature,
        endpoint=endpoint,
        user=chance.choice(["ann", "bob", "carla", "dmitri", None]),
        tenant=chance.choice(["acme", "globex", None]),
        outcome="failed" if is_bad else "ok",
        category=chance.choice(["server", "timeout"]) if is_bad else None,
        status=503 if is_bad else 200,
        input=chance.randint(200, 9_000),
        cached=chance.choice([0, 0, 0, 180]),
        output=chance.randint(20, 900),
        cost=None if chance.random() < 0.02 else int(chance.random() * 5e9),  # noqa: PLR2004
        table_hash=facade.table.snapshot.hash,
    )


@asynccontextmanager
async def serving(folder: Path, *, busy: bool) -> AsyncIterator[str]:
    """A server with, or without, anything to show."""
    settings = Settings(_env_file=None, data_dir=folder, database_url=None)
    watchers = Watchers.of(settings)
    facade = watchers.facade(Table(environ=KEYS if busy else {}))
    app = create_app(settings, patchbay=facade, watchers=watchers, launch_token=LAUNCH, announce=_nobody)
    with watchers.spool, socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        if busy:
            await asyncio.to_thread(happen, watchers, facade)
            await asyncio.sleep(2)  # until the ledger has it
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await task


def _nobody(_: str) -> None:
    """Is told the first token."""


def _made(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder.resolve())


async def shoot(base: str, folder: Path, pages: dict[str, str]) -> bool:
    """Pictures of ``pages``; whether nothing was wrong with them."""
    browser = next(filter(None, map(shutil.which, BROWSERS)))
    told = {"base": base, "login": f"/login?token={LAUNCH}", "folder": _made(folder), "pages": pages}
    process = await asyncio.create_subprocess_exec(
        *("node", str(SCRIPT), browser, json.dumps(told)),
        env={"NODE_PATH": str(MODULES), "PATH": "/usr/bin:/bin:/usr/local/bin"},
    )
    return await process.wait() == 0


async def main(words: Sequence[str]) -> int:
    """Everything, into the folder that ``words`` name."""
    if (why := absent()) is not None:
        print(why)
        return 0
    install()
    pictures = Path(words[0]) if words else FOLDER / "pictures"
    is_well = True
    for kind in ("empty", "busy"):
        pages = PAGES | ({"request": "/requests"} if kind == "busy" else {})
        with tempfile.TemporaryDirectory() as data:
            async with serving(Path(data), busy=kind == "busy") as base:
                is_well &= await shoot(base, pictures / kind, pages)
    print(f"{sum(1 for _ in pictures.rglob('*.png'))} pictures are in {pictures}.")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
