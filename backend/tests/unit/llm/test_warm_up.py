"""What the first calls would wait for is done at the start."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backend.main import create_app
from backend.settings import Settings
from backend.utils.llm.forks import delay_forks
from backend.utils.llm.providers.client_cache import ChatClientKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from fastapi import FastAPI

    from backend.tests.unit.llm.conftest import Make
    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.providers.chat_api import ChatApi
    from backend.utils.llm.testing import LoopbackProvider

CHAIN = ["openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite", "anthropic:claude-sonnet-5-5"]


def test_the_clients_of_all_chains_are_built_and_nothing_is_sent(
    make: Make, provider: LoopbackProvider
) -> None:
    patchbay = make(CHAIN)

    patchbay.warm_up()

    asked = [candidate.endpoint for candidate in patchbay.explain("f").candidates]
    assert len(asked) == len(CHAIN)
    assert all(endpoint in patchbay.runtime.clients for endpoint in asked)
    assert not provider.requests


def test_a_client_that_cannot_be_built_is_left_to_its_calls(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def get_client(self, _: object) -> None:
            raise ImportError("no SDK")

    patchbay = make(CHAIN)
    patchbay.runtime.clients = Broken()  # type: ignore[assignment]

    with caplog.at_level(logging.ERROR):
        patchbay.warm_up()

    assert "warm-up was broken off" in caplog.text


@pytest.fixture
async def served(make: Make, tmp_path: Path) -> AsyncIterator[tuple[FastAPI, Patchbay]]:
    """A server that has not been started, and its patchbay."""
    patchbay = make(CHAIN)
    app = create_app(Settings(_env_file=None, data_dir=tmp_path), patchbay=patchbay, announce=lambda _: None)
    yield app, patchbay
    await patchbay.aclose()


@pytest.fixture
def may_warm_up(
    served: tuple[FastAPI, Patchbay], monkeypatch: pytest.MonkeyPatch
) -> Iterator[threading.Event]:
    """When its warm-up goes on."""
    may_go_on, (_, patchbay) = threading.Event(), served
    warm_up = patchbay.warm_up

    def later() -> None:
        may_go_on.wait(60)
        warm_up()

    monkeypatch.setattr(patchbay, "warm_up", later)
    yield may_go_on
    may_go_on.set()


async def test_a_server_warms_up_beside_its_start(
    served: tuple[FastAPI, Patchbay], may_warm_up: threading.Event
) -> None:
    app, patchbay = served

    async with app.router.lifespan_context(app):
        before = len(patchbay.runtime.clients)
        may_warm_up.set()
        await asyncio.wait([task for task in asyncio.all_tasks() if task.get_name() == "warm-up"])

    assert (before, len(patchbay.runtime.clients)) == (0, len(CHAIN))


@pytest.mark.parametrize("frozen_before", [True, False])
async def test_a_server_leaves_frozen_what_was_and_nothing_else(
    served: tuple[FastAPI, Patchbay], *, frozen_before: bool
) -> None:
    app, _ = served
    if not frozen_before:
        gc.unfreeze()

    async with app.router.lifespan_context(app):
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "warm-up"))

    assert (gc.get_freeze_count() > 0) is frozen_before


async def test_a_server_that_may_not_freeze_freezes_nothing(make: Make, tmp_path: Path) -> None:
    settings, patchbay = Settings(_env_file=None, data_dir=tmp_path), make(CHAIN)
    app = create_app(settings, patchbay=patchbay, announce=lambda _: None, may_freeze=False)
    gc.unfreeze()

    async with app.router.lifespan_context(app):
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "warm-up"))
        frozen = gc.get_freeze_count()
    await patchbay.aclose()

    assert (frozen, len(patchbay.runtime.clients)) == (0, len(CHAIN))


@pytest.mark.usefixtures("may_warm_up")
async def test_a_server_that_is_stopped_at_once_does_not_warm_up_first(
    served: tuple[FastAPI, Patchbay],
) -> None:
    """A warm-up may take seconds, and nobody would have any use of it."""
    app, patchbay = served

    async with app.router.lifespan_context(app):
        pass

    assert len(patchbay.runtime.clients) == 0


FIRST_CALLS = """
import sys
from backend.utils.llm.testing import LoopbackProvider
from backend.utils.llm.testing.patchbays import loopback_patchbay

with LoopbackProvider() as provider:
    bay = loopback_patchbay(provider, {"f": "openai:gpt-6-luna", "g": "gemini:gemini-3.5-flash-lite"})
    bay.warm_up()
    before = set(sys.modules)
    for feature in ("f", "g"):
        bay.get_llm(feature).invoke("hi")
        list(bay.get_llm(feature).stream("hi"))
    bay.close()
print(sorted(set(sys.modules) - before))
"""


def test_after_it_a_call_imports_nothing() -> None:
    """A child that is forked while another thread imports something waits for it for ever."""
    root = Path(__file__).parents[4]

    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", FIRST_CALLS], cwd=root, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


def test_calls_that_come_at_once_wait_for_one_client_from_one_thread(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_build, built, chat_api = threading.Event(), list[ChatClientKey](), ChatClientKey.chat_api

    def slowly(key: ChatClientKey) -> ChatApi:
        may_build.wait()
        built.append(key)
        return chat_api(key)

    monkeypatch.setattr(ChatClientKey, "chat_api", slowly)
    patchbay = make(CHAIN)
    endpoint = patchbay.explain("f").candidates[0].endpoint

    begun = {patchbay.runtime.clients.start_building_client(endpoint) for _ in range(20)}
    may_build.set()

    assert len(begun) == 1
    begun.pop().result()
    assert (endpoint in patchbay.runtime.clients, len(built)) == (True, 1)


def test_a_model_is_made_while_another_thread_imports_what_calls_need(make: Make) -> None:
    """It may be an event loop that waits."""
    imports, is_over, made = threading.Event(), threading.Event(), list[str]()
    patchbay = make(CHAIN)
    patchbay.get_llm("f")

    def import_much() -> None:
        with delay_forks():
            imports.set()
            is_over.wait(60)

    def make_another() -> None:
        made.append(patchbay.get_llm("f", streaming=True).feature)

    importer, maker = threading.Thread(target=import_much), threading.Thread(target=make_another)
    importer.start()
    imports.wait()
    maker.start()
    maker.join(30)
    is_over.set()
    importer.join()
    maker.join()

    assert made == ["f"]


def test_the_warm_up_lets_others_import_between_its_steps(make: Make) -> None:
    patchbay, built = make(CHAIN), list[bool]()

    class Clients:
        def get_client(self, _: object) -> None:
            other = threading.Thread(target=take_the_gate)
            other.start()
            other.join(30)

    def take_the_gate() -> None:
        with delay_forks():
            built.append(True)

    patchbay.runtime.clients = Clients()  # type: ignore[assignment]
    patchbay.warm_up()

    assert built == [True] * len(CHAIN)
