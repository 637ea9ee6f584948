"""How long each view of the console takes over a million attempts, and what a browser loads for it.

    PYTHONPATH=. .venv/bin/python -m benchmarks.console [sqlite|postgresql]      # or: make console

Takes about two minutes. The million is of 30 days, of every feature of the shipped table, 1,000 tenants and 5,000 users; this process has
seen some thousand attempts within the last quarter of an hour, too. A view is asked over ASGI, so neither a network nor a
browser is in the figure. Exit code 1 if the best of seven is 300 ms or more, or if a page with all that it loads is 100 kB or more.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx2
from uuid_utils import uuid7

from backend.database.storage import open_and_migrate_database
from backend.main import create_app
from backend.routers.pages import STATIC
from backend.routers.rendering import CONSOLE, MENU
from backend.settings import Settings
from backend.tests.fakes.postgres import running
from backend.tests.fakes.records import DAY, record
from backend.utils.llm import Patchbay, Table
from backend.watchers import Watchers
from benchmarks.ledger import Mix, fill

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUNDS: Final = 7
MOST_MILLISECONDS: Final = 300
MOST_BYTES: Final = 100_000
RECENT: Final = 4_000
WARM_UP_SECONDS: Final = 10
"""In which a server that has just begun loads what calls need, beside its first requests."""
KEYS: Final = {"OPENAI_API_KEY": "k", "GEMINI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}
HEADERS: Final = {"authorization": "Bearer of-the-benchmark", "accept": "text/html"}
OTHERS: Final = (
    "/explain?feature=conv_folder&tokens=3000&tools=true",
    "/requests?outcome=failed",
    "/requests?outcome=rejected",
    "/requests?feature=conv_folder&model=openai:gpt-6-luna&owner=user",
    "/requests?user=user-7",
    "/spend?by=model&days=90",
    "/spend?by=tenant&days=30",
    "/spend?by=user&days=90",
)


def mix(facade: Patchbay) -> Mix:
    """Of the features and endpoints of the table in force, until now."""
    features = facade.get_qos_info().features
    now = int(datetime.now(UTC).timestamp() * 1e6)
    endpoints = sorted({endpoint for info in features.values() for endpoint in info.chain})
    return Mix(now // DAY * DAY + DAY // 2, tuple(features), endpoints)


def _happen(watchers: Watchers, made: Mix) -> None:
    """What this process has seen."""
    now = int(datetime.now(UTC).timestamp() * 1e6)
    if watchers.recent is not None:
        for number in range(RECENT):
            feature, endpoint = (names[number % len(names)] for names in (made.features, made.endpoints))
            at = now - number * 200_000
            watchers.recent.append(record(call=str(uuid7()), feature=feature, endpoint=endpoint, at=at))


def _nobody(_: str) -> None:
    """Is told the first token."""


async def measure(kind: str, settings: Settings) -> bool:
    """Every view; whether all are within their bounds."""
    watchers = Watchers.of(settings)
    facade = watchers.facade(Table(environ=KEYS))
    made = mix(facade)
    async with open_and_migrate_database(settings) as engine:
        begun = time.perf_counter()
        await fill(engine, made)
        print(f"{kind}: a million rows and their roll-ups made in {time.perf_counter() - begun:.0f} s")
    _happen(watchers, made)
    app = create_app(
        settings,
        patchbay=facade,
        watchers=watchers,
        launch_token=HEADERS["authorization"].split()[1],
        announce=_nobody,
    )
    with watchers.spool:
        async with app.router.lifespan_context(app):
            await asyncio.sleep(WARM_UP_SECONDS)
            return await _views(kind, app)


async def _views(kind: str, app: object) -> bool:
    loaded = sum((CONSOLE / "static" / name).stat().st_size for name in STATIC)
    is_well = True
    transport = httpx2.ASGITransport(app)  # type: ignore[arg-type]
    async with httpx2.AsyncClient(transport=transport, base_url="http://console", headers=HEADERS) as client:
        found = (await client.get("/requests", headers={"accept": "application/json"})).json()["requests"]
        for path in (*(place.path for place in MENU), *OTHERS, f"/requests/{found[0]['call']}"):
            milliseconds, size = await _view(client, path)
            fits = milliseconds < MOST_MILLISECONDS and size + loaded < MOST_BYTES
            is_well &= fits
            told = f"{milliseconds:6.1f} ms, {size / 1000:5.1f} kB, {(size + loaded) / 1000:5.1f} kB with all that it loads"
            print(f"{kind}: {told}  {path}{'' if fits else '  TOO MUCH'}")
    return is_well


async def _view(client: httpx2.AsyncClient, path: str) -> tuple[float, int]:
    """The best of its times, as others are at work, too, and its bytes."""
    times, size = [], 0
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        response = (await client.get(path)).raise_for_status()
        times.append(1e3 * (time.perf_counter() - begun))
        size = len(response.content)
    return min(times), size


async def main(words: Sequence[str]) -> int:
    """On both databases, or on the one that ``words`` name."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        if "postgresql" not in words:
            settings = Settings(_env_file=None, data_dir=Path(folder) / "sqlite", database_url=None)
            found.append(await measure("sqlite", settings))
        if "sqlite" not in words:
            with running(durable=True) as postgres, postgres.database() as url:
                settings = Settings(_env_file=None, data_dir=Path(folder) / "postgresql", database_url=url)
                found.append(await measure("postgresql", settings))
    return 0 if all(found) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
