"""What an application does with its patchbay while it runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from backend.utils.llm import Patchbay, Table, get_llm, serving
from backend.utils.llm.errors import NoEndpointError
from backend.utils.llm.packages import OF_API, find_missing_api_packages
from backend.utils.llm.testing import LoopbackProvider, Text
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TABLE = """
profile = "p"
[providers.openai]
api = "openai"
api_key_env = "OPENAI_API_KEY"
[profiles.p]
first = "openai:gpt-6-luna"
"""


async def test_it_is_in_force_and_answers_until_the_end() -> None:
    with LoopbackProvider() as provider:
        provider.always(Text("hello"))
        async with serving(loopback_patchbay(provider, {"f": "openai:gpt-6-luna"})) as patchbay:
            assert (await get_llm("f").ainvoke("hi")).text == "hello"
            assert get_llm("f").runtime is patchbay.runtime


async def test_a_changed_table_comes_into_force(tmp_path: Path) -> None:
    path = tmp_path / "llm.toml"
    path.write_text(TABLE)
    patchbay = Patchbay(Table(path, environ={}))

    async with serving(patchbay, reload_every=0.001):
        path.write_text(TABLE + 'second = "openai:gpt-6-luna"\n')
        await until(lambda: "second" in patchbay.table.snapshot.features)


async def test_a_look_at_the_table_that_fails_is_not_the_last(tmp_path: Path) -> None:
    path = tmp_path / "llm.toml"
    path.write_text(TABLE)
    patchbay = Patchbay(Table(path, environ={}))
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        raise RuntimeError("the disk is away")

    patchbay.table.reload_if_changed = look  # type: ignore[method-assign, assignment]
    async with serving(patchbay, reload_every=0.001):
        await until(lambda: len(looks) > 2)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what happens in a thread
            await asyncio.sleep(0.001)


class TestMissingPackages:
    """What is not installed is told before anything is sent."""

    @pytest.fixture(autouse=True)
    def _without_google(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setitem(OF_API, "gemini", {"no_such_module": "langchain-google-genai"})
        find_missing_api_packages.cache_clear()
        yield
        find_missing_api_packages.cache_clear()

    def test_the_next_endpoint_serves(self, provider: LoopbackProvider) -> None:
        provider.always(Text("hello"))
        chain = ["gemini:gemini-3.5-flash-lite", "openai:gpt-6-luna"]
        patchbay = loopback_patchbay(provider, {"f": chain})

        assert patchbay.get_llm("f").invoke("hi").text == "hello"
        assert "pip install langchain-google-genai" in str(patchbay.explain("f"))
        patchbay.close()

    def test_alone_it_is_an_error_that_says_what_to_install(self, provider: LoopbackProvider) -> None:
        patchbay = loopback_patchbay(provider, {"f": "gemini:gemini-3.5-flash-lite"})

        with pytest.raises(NoEndpointError, match="pip install langchain-google-genai"):
            patchbay.get_llm("f").invoke("hi")
        assert len(provider.requests) == 0
        patchbay.close()

    def test_the_warm_up_does_the_rest(
        self, provider: LoopbackProvider, caplog: pytest.LogCaptureFixture
    ) -> None:
        chain = ["gemini:gemini-3.5-flash-lite", "openai:gpt-6-luna"]
        patchbay = loopback_patchbay(provider, {"f": chain})
        patchbay.warm_up()

        assert "broken off" not in caplog.text
        assert len(patchbay.runtime.clients) == 1
        patchbay.close()
