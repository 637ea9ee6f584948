"""The console on a ledger of its own, and browsers that look at it."""

from __future__ import annotations

import dataclasses
import html
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx2
import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker

from backend.access import Grant
from backend.budgets import BudgetManager
from backend.database.engine import make_engine
from backend.database.ledger import make_ledger_store
from backend.database.overrides import SqlOverrideStore
from backend.database.tokens import TokenStore
from backend.database.usage import SqlUsageStore
from backend.overrides import OverrideManager
from backend.recent import RecentAttemptStats
from backend.routers.rendering import MENU
from backend.tests.fakes.records import record, spooled
from backend.tests.fakes.services import services
from backend.utils.llm import Patchbay, Table
from backend.utils.llm.state.budget_store import MemoryBudgets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.routers.dependencies import Services
    from backend.utils.llm.ledger.record import AttemptRecord

    from ..conftest import MakeApp


ADMIN: Final = {"authorization": "Bearer token-of-admin"}
OURS: Final = {"sec-fetch-site": "same-origin", "content-type": "application/x-www-form-urlencoded"}
"""How a browser sends a form of our own page."""
HTML: Final = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
JSON: Final = {"accept": "application/json"}
KEYS: Final = {
    "OPENAI_API_KEY": "sk-canary-openai",
    "GEMINI_API_KEY": "sk-canary-gemini",
    "ANTHROPIC_API_KEY": "sk-canary-anthropic",
}
HOSTILE: Final = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{1234567*89}}\x1b[31m\u202e"
CALL: Final = "0193a1b2-c3d4-7e5f-8a9b-{:012d}"
TABLE: Final = (Path(__file__).parents[4] / "llm.toml").read_text()
VIEWS: Final = tuple(place.path for place in MENU)
FOR_ADMINS: Final = tuple(place.path for place in MENU[1:] if not place.is_visible_to(Grant("ann")))
OTHERS: Final = (
    f"/requests/{CALL.format(1)}",
    "/explain?feature=conv_folder&tokens=3000&tools=true&byok=openai&user=ann&tier=pro",
    "/explain?feature=no_such_thing",
    "/features?text=conv&only=trouble",
    "/requests?outcome=failed&feature=conv_folder&user=ann&tenant=acme&owner=house&model=openai:gpt-6-luna",
    "/spend?by=model&days=7",
    "/spend?by=user&days=90",
    "/spend?by=tenant",
)
PATHS: Final = (*VIEWS, *OTHERS)


def assert_no_secret(text: str) -> None:
    assert "canary" not in text
    assert "token-of-" not in text


def now_us() -> int:
    return int(datetime.now(UTC).timestamp() * 1e6)


def rows(**fields: Any) -> list[AttemptRecord]:
    """Four calls of the last minutes: one that was served at once, one at the second try, one that failed, one of nobody."""
    at = now_us()
    made = [
        record(
            call=CALL.format(1),
            at=at - 50_000_000,
            outcome="failed",
            category="server",
            status=503,
            cost=None,
        ),
        record(
            call=CALL.format(1),
            number=2,
            at=at - 48_000_000,
            endpoint="gemini:gemini-3.5-flash-lite",
            degraded=True,
        ),
        record(
            call=CALL.format(2), at=at - 40_000_000, feature="chat_agent", finish_reason="length", hedge=True
        ),
        record(call=CALL.format(3), at=at - 30_000_000, outcome="failed", category="rate_limit", status=429),
        record(call=CALL.format(4), at=at - 20_000_000, user=None, tenant=None, key_owner="user"),
    ]
    return [one._replace(**fields) for one in made]


@pytest.fixture
async def engine(with_tables: Path, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    made = make_engine(Path(shutil.copy(with_tables, tmp_path)))
    yield made
    await made.dispose()


@pytest.fixture
def given(engine: AsyncEngine) -> Services:
    """Services on a table of ours, with an empty ledger."""
    table = Table(environ=KEYS)
    facade, store = Patchbay(table), MemoryBudgets(lambda: datetime.now(UTC).timestamp())

    async def note(*_: Any, **__: Any) -> None: ...

    return dataclasses.replace(
        services(),
        facade=facade,
        usage=SqlUsageStore(engine),
        recent=RecentAttemptStats(),
        overrides=OverrideManager(SqlOverrideStore(async_sessionmaker(engine)), table),
        budgets=BudgetManager(store, table, note),
        given_tokens=TokenStore(async_sessionmaker(engine)),
    )


@pytest.fixture
def app(make_app: MakeApp, given: Services) -> FastAPI:
    return make_app(given)


@pytest.fixture
async def browser(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=HTML) as client:
        yield client


async def happen(app: FastAPI, engine: AsyncEngine, records: Sequence[AttemptRecord]) -> None:
    await make_ledger_store(engine).add(spooled(records))
    for one in records:
        app.state.services.recent.append(one)


def provide(app: FastAPI, **changed: Any) -> None:
    app.state.services = dataclasses.replace(app.state.services, **changed)


async def text_of(browser: httpx2.AsyncClient, path: str) -> str:
    response = await browser.get(path, headers=ADMIN)
    assert response.status_code == 200, response.text
    return re.sub(r"\s+", " ", html.unescape(response.text))


def quiet(app: FastAPI) -> Any:
    """A facade of whose table there is nothing to tell."""
    qos = app.state.services.facade.get_qos_info()
    served = {name: info for name, info in qos.features.items() if not info.problem}

    class Quiet(Patchbay):
        def get_qos_info(self) -> Any:
            return qos.model_copy(update={"features": served, "retirements": ()})

    return Quiet(Table(environ=KEYS))
