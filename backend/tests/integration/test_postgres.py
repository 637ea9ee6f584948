"""The application on PostgreSQL: what one machine keeps there, another one has."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from backend.cli import app as commands
from backend.conversations.sample import SAMPLE
from backend.settings import Settings
from backend.tests.fakes.applications import application, client_of
from backend.utils.llm.testing import Json
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    import httpx2

    from backend.tests.fakes.postgres import Postgres
    from backend.utils.llm.testing import LoopbackProvider

FEATURES = ("conv_discard", "conv_structure", "conv_action_items", "conv_folder", "chat_responses")


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with postgres.database() as made:
        yield made


class Machine:
    """One that serves, with a folder of its own."""

    def __init__(self, folder: Path, url: str, provider: LoopbackProvider) -> None:
        self.folder = folder
        self.url = url
        self.provider = provider
        self.told: list[str] = []

    @asynccontextmanager
    async def client(self, token: str | None = None) -> AsyncIterator[httpx2.AsyncClient]:
        """What asks it, while it runs."""
        settings = Settings(_env_file=None, data_dir=self.folder, database_url=self.url)
        patchbay = loopback_patchbay(self.provider, dict.fromkeys(FEATURES, "openai:gpt-6-luna"))
        app = application(settings, self.told.append, patchbay=patchbay)
        async with app.router.lifespan_context(app), client_of(app, token or self.told[0]) as client:
            yield client
        await patchbay.aclose()


async def test_what_one_machine_keeps_another_has(
    url: str, tmp_path: Path, provider: LoopbackProvider
) -> None:
    provider.always(Json({"reason": "A task.", "discard": True}), model="gpt-6-luna")
    here, there = (Machine(tmp_path / name, url, provider) for name in ("here", "there"))

    async with here.client() as client:
        made = (await client.post("/v1/conversations", json=SAMPLE.model_dump(mode="json"))).json()

    async with there.client(here.told[0]) as client:
        assert (await client.get("/v1/conversations")).json()["items"][0]["id"] == made["id"]
        whole = (await client.get(f"/v1/conversations/{made['id']}")).json()
        assert whole == made | {"transcript": whole["transcript"]}
        assert len(whole["transcript"]["segments"]) == len(SAMPLE.segments)
        assert (await client.get("/v1/usage")).status_code == 200
    assert there.told == []


def test_commands_work_on_it(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("PATCHBAY_DATA_DIR", str(tmp_path))

    def told(*arguments: str) -> Any:
        return json.loads(CliRunner().invoke(commands, [*arguments, "--json"]).stdout)

    assert told("tokens", "make", "ci")["user_id"] == "admin"
    assert [token["name"] for token in told("tokens", "list")["tokens"]] == ["ci"]
    assert told("usage")["total"]["attempts"] == 0
    assert not (tmp_path / "patchbay.sqlite3").exists()


def test_a_server_that_is_away_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://ann:house-key-of-ann@/base?host={tmp_path}")

    result = CliRunner().invoke(commands, ["usage", "--json"])

    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "unusable_database"
    assert "house-key" not in result.output
