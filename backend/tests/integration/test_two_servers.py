"""Two servers, each a process as a person starts it, on one database: what one is told, the other goes by at once."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import httpx2
import pytest

from backend.tests.integration.test_http import ANSWERS, BODY, MODELS
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from backend.utils.llm.testing import LoopbackProvider

    Servers = Sequence[httpx2.AsyncClient]

KEY = "sk-canary-of-ann-012345679876"
BROUGHT = {"x-byok-openai": KEY}


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """`python -m backend serve` on the table and the data in ``folder``, and a client that is logged in."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "backend", "serve"),
        env={
            "LLM_CONFIG": str(folder / "llm.toml"),
            "PATCHBAY_DATA_DIR": str(folder / "data"),
            "PATCHBAY_PORT": "0",
            **HOUSE_KEYS,
        },
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        told = await process.stdout.readuntil(b"/login?token=") + await process.stdout.readline()
        origin, token = re.findall(r"Open (\S+)/login\?token=(\S+)", told.decode())[0]
        async with httpx2.AsyncClient(base_url=origin, trust_env=False) as client:
            logged_in = await client.get(
                "/login", params={"token": token}, headers={"sec-fetch-site": "none"}
            )
            assert logged_in.status_code == 303
            yield client
    finally:
        process.terminate()
        await process.communicate()


@pytest.fixture
def folder(provider: LoopbackProvider, tmp_path: Path) -> Path:
    """A table, and no data yet."""
    for feature, answer in ANSWERS.items():
        provider.always(answer, model=MODELS[feature])
    chains = {feature: f"openai:{model}" for feature, model in MODELS.items()}
    (tmp_path / "llm.toml").write_text(loopback_table(provider, chains))
    return tmp_path


@pytest.fixture
async def servers(folder: Path) -> AsyncIterator[Servers]:
    async with AsyncExitStack() as stack:
        here, there = (stack.enter_async_context(server(folder)) for _ in range(2))
        yield await asyncio.gather(here, there)


async def payers(
    client: httpx2.AsyncClient, provider: LoopbackProvider, headers: dict[str, str]
) -> set[str | None]:
    """Whose keys a conversation is made with."""
    before = len(provider.requests)
    created = await client.post("/v1/conversations", json=BODY, headers=headers)
    assert created.status_code == 201
    return {request.key for request in provider.requests[before:]}


async def test_a_key_that_is_revoked_at_one_is_refused_by_the_other_at_once(
    servers: Servers, provider: LoopbackProvider
) -> None:
    here, there = servers
    for stored, sent in ((True, {}), (False, BROUGHT)):
        await here.put("/v1/keys/openai", json={"key": KEY, "store": stored})
        assert await payers(there, provider, sent) == {KEY}

        await here.delete("/v1/keys/openai")

        refused = await there.post("/v1/conversations", json=BODY, headers=BROUGHT)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "key_not_enrolled")
        assert await payers(there, provider, {}) == {HOUSE_KEYS["LOOPBACK_OPENAI_KEY"]}
