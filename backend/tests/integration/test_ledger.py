"""From a call over HTTP to a row in the database."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from backend.conversations.sample import SAMPLE
from backend.database.engine import open_and_migrate_sqlite
from backend.ledger.folders import list_spool_folders
from backend.ledger.spool import Spool
from backend.settings import Settings
from backend.tests.fakes.applications import application, client_of
from backend.tests.fakes.records import record
from backend.tests.fakes.spools import crash
from backend.utils.llm import AttemptText, Table, TextFolder
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_table
from backend.watchers import Watchers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx2

    from backend.utils.llm.testing import LoopbackProvider


STEPS = ("conv_discard", "conv_structure", "conv_action_items", "conv_folder")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path)


@asynccontextmanager
async def running(
    settings: Settings, provider: LoopbackProvider, rows: str = ""
) -> AsyncIterator[httpx2.AsyncClient]:
    """The application, with a client that is logged in."""
    watchers = Watchers.of(settings)
    endpoints = dict.fromkeys(STEPS, "openai:gpt-6-luna")
    table = Table(text=loopback_table(provider, endpoints, rows), environ=HOUSE_KEYS)
    with watchers.spool:
        bay = watchers.facade(table)
        app = application(settings, patchbay=bay, launch_token="of-this-start", watchers=watchers)
        async with app.router.lifespan_context(app), client_of(app, "of-this-start") as client:
            yield client
        await bay.aclose()


async def calls(settings: Settings) -> list[tuple[str, int, str]]:
    """What is in the database."""
    async with open_and_migrate_sqlite(settings.database_path) as engine, engine.connect() as connection:
        found = await connection.execute(text("SELECT call, number, feature FROM ledger_attempts"))
        return [(*row,) for row in found]


async def test_a_call_over_http_has_its_row_in_the_database_when_the_server_has_stopped(
    settings: Settings, provider: LoopbackProvider
) -> None:
    async with running(settings, provider) as client:
        made = await client.post("/v1/conversations", json=SAMPLE.model_dump(mode="json"))

    receipts = made.json()["receipts"]
    assert receipts
    assert {(receipt["id"], 1, step) for step, receipt in receipts.items()} <= {*await calls(settings)}


async def test_the_houses_key_has_a_name_in_the_ledger_that_is_not_the_key(
    settings: Settings, provider: LoopbackProvider
) -> None:
    named = settings.model_copy(update={"ledger_secret": SecretStr("canary-of-16-bytes")})

    async with running(named, provider) as client:
        await client.post("/v1/conversations", json=SAMPLE.model_dump(mode="json"))

    async with open_and_migrate_sqlite(settings.database_path) as engine, engine.connect() as connection:
        (key,) = (await connection.execute(text("SELECT DISTINCT key FROM ledger_attempts"))).scalars()
    assert re.fullmatch("[0-9a-f]{16}", key)


async def test_texts_of_a_feature_that_says_so_are_kept_and_old_ones_are_gone_at_the_next_start(
    settings: Settings, provider: LoopbackProvider
) -> None:
    old = AttemptText("of-long-ago", 1, "2026-01-31", "chat", None, None, [["human", "hi"]], "well", [])
    TextFolder(settings.prompt_texts_path).keep(old)

    async with running(settings, provider, "[features.conv_structure]\nkeep_text_days = 7") as client:
        made = await client.post("/v1/conversations", json=SAMPLE.model_dump(mode="json"))

    receipts, folder = made.json()["receipts"], TextFolder(settings.prompt_texts_path)
    kept = {step: [*folder.find_texts(receipt["id"])] for step, receipt in receipts.items()}
    assert {step for step, texts in kept.items() if texts} == {"conv_structure"}
    assert [*folder.find_texts("of-long-ago")] == []


async def test_what_a_killed_server_left_is_in_the_database_after_the_next_start(
    settings: Settings, provider: LoopbackProvider
) -> None:
    killed = Spool(settings.ledger_spool_path)
    killed.append(record(call="of-the-killed"))
    crash(killed)

    async with running(settings, provider):
        pass

    assert await calls(settings) == [("of-the-killed", 1, "conv_folder")]
    assert len(list_spool_folders(settings.ledger_spool_path)) == 1


async def test_metrics_tell_how_records_get_to_the_database(
    settings: Settings, provider: LoopbackProvider
) -> None:
    async with running(settings, provider) as client:
        told = (await client.get("/metrics")).text

    assert "patchbay_ledger_records_total 0.0" in told
    assert "patchbay_ledger_lost_records_total 0.0" in told
    assert "patchbay_ledger_fault 0.0" in told
    assert "patchbay_ledger_store_away 0.0" in told
