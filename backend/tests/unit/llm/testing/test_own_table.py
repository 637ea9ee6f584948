"""The testing kit on a table of one's own: every provider of it is the loopback provider, all else is as it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backend.utils.llm import Caller, use
from backend.utils.llm.errors import LLMError
from backend.utils.llm.testing import LoopbackProvider, Status, Text
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

from ..drivers import DRIVERS

if TYPE_CHECKING:
    from pathlib import Path

    from ..drivers import Driver

TABLE = """
profile = "standard"

[providers.backup]
api = "openai"
base_url = "https://openrouter.ai/api/v1"
api_key_env = "BACKUP_KEY"
headers = { "X-Title" = "Ours" }

[providers.openai]
api = "openai"
[providers.openai.accounts.eu]
api_key_env = "OPENAI_EU_KEY"

[providers.gemini]
api = "gemini"
api_key_env = "GEMINI_KEY"

[providers.claude]
api = "anthropic"
base_url = "https://claude.example/"
api_key_env = "CLAUDE_KEY"

[providers.local]
api = "openai"

[profiles.standard]
first = ["openai:gpt-6-luna", "backup:openai/gpt-6-luna"]
google = "gemini:gemini-3.5-flash-lite"
claude = "claude:claude-sonnet-5-5"
here = "local:some-model"

[features.first]
options = { effort = "none" }
"""
PYTEST = """
pytest_plugins = ["backend.utils.llm.testing.pytest_plugin"]
"""
A_TEST = """
from backend.utils.llm import get_llm
from backend.utils.llm.testing import Status, Text

def test_it(llm_provider, llm_caller, llm_time):
    llm_provider.script(Status(503), Text("hello"))
    assert get_llm("first").invoke("hi").text == "hello"
    assert llm_time.slept
    assert llm_caller.user_id
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "llm.toml"
    path.write_text(TABLE)
    return path


@pytest.mark.parametrize("call", DRIVERS)
@pytest.mark.parametrize("feature", ["first", "google", "claude", "here"])
def test_every_provider_of_it_is_the_loopback_one(
    feature: str, call: Driver, table: Path, provider: LoopbackProvider
) -> None:
    provider.always(Text("hello"))
    patchbay = loopback_patchbay(provider, table=table)

    assert call(patchbay.get_llm(feature), "hi").text == "hello"
    assert len(provider.requests) == 1
    patchbay.close()


def test_keys_headers_and_fallbacks_are_those_of_the_table(table: Path, provider: LoopbackProvider) -> None:
    provider.script(*[Status(503)] * 3, Text("hello"))
    patchbay = loopback_patchbay(provider, table=table, time=VirtualTime().time)

    assert patchbay.get_llm("first").invoke("hi").text == "hello"
    assert provider.requests[0].headers["authorization"] == "Bearer house-key-of-openai_eu_key"
    assert provider.requests[-1].headers["authorization"] == "Bearer house-key-of-backup_key"
    assert provider.requests[-1].headers["x-title"] == "Ours"
    patchbay.close()


def test_a_callers_key_is_used(table: Path, provider: LoopbackProvider) -> None:
    provider.always(Text("hello"))
    patchbay = loopback_patchbay(provider, table=table)
    caller = Caller(keys={"openai": "sk-user"})

    patchbay.get_llm("first", caller=caller).invoke("hi")

    assert provider.requests[0].headers["authorization"] == "Bearer sk-user"
    patchbay.close()


def test_keys_that_are_told_are_all_there_are(table: Path, provider: LoopbackProvider) -> None:
    patchbay = loopback_patchbay(provider, table=table, environ={})

    with pytest.raises(LLMError, match="CLAUDE_KEY"), use(patchbay):
        patchbay.get_llm("claude").invoke("hi")


def test_fixtures_of_the_plugin(pytester: pytest.Pytester, table: Path) -> None:
    pytester.makeconftest(PYTEST)
    pytester.makeini(
        f"[pytest]\nllm_table = {table}\nasyncio_default_fixture_loop_scope = function\naddopts = -p no:randomly -p no:cacheprovider"
    )
    pytester.makepyfile(A_TEST)

    pytester.runpytest_inprocess().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("api", "base_url"),
    [
        ("openai", "https://gateway.example/openai"),
        ("anthropic", "https://api.anthropic.com/v1/"),
        ("gemini", "https://generativelanguage.googleapis.com/v1beta"),
        ("gemini", "https://aiplatform.googleapis.com/v1/publishers/google"),
    ],
)
def test_a_base_url_that_names_the_version_is_no_matter(
    api: str, base_url: str, tmp_path: Path, provider: LoopbackProvider
) -> None:
    models = {"openai": "gpt-6-luna", "anthropic": "claude-sonnet-5-5", "gemini": "gemini-3.5-flash-lite"}
    row = f'api = "{api}"\nbase_url = "{base_url}"\napi_key_env = "K"'
    path = tmp_path / "llm.toml"
    path.write_text(f'profile = "p"\n[providers.theirs]\n{row}\n[profiles.p]\nchat = "theirs:{models[api]}"')
    provider.always(Text("hello"))
    patchbay = loopback_patchbay(provider, table=path)

    assert patchbay.get_llm("chat").invoke("hi").text == "hello"
    patchbay.close()
