"""Azure and Google Cloud as rows: what is sent there, and what a table is told that cannot work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backend.utils.llm.errors import ConfigError
from backend.utils.llm.model_config import Table

if TYPE_CHECKING:
    from backend.utils.llm.testing import LoopbackProvider

    from .conftest import Make

TABLE = """
[providers.there]
api = "{api}"
base_url = "{base_url}"
api_key_env = "THERE_API_KEY"
[profiles.premium]
f = "there:a-deployment"
[profiles.byok]
extends = "premium"
"""
EXPRESS = "https://aiplatform.googleapis.com/v1/publishers/google"
AZURE = "https://mine.openai.azure.com"


def load(api: str, base_url: str, key: str = "house-key-of-there") -> Table:
    return Table(text=TABLE.format(api=api, base_url=base_url), environ={"THERE_API_KEY": key})


@pytest.mark.parametrize(
    ("api", "base_url"),
    [
        ("openai", f"{AZURE}/openai/v1"),
        ("openai", f"{AZURE}/openai/v1/"),
        ("openai", "https://mine.services.ai.azure.com/openai/v1"),
        ("anthropic", "https://mine.services.ai.azure.com/anthropic"),
        ("anthropic", "https://mine.services.ai.azure.com/anthropic/v1"),
        ("gemini", EXPRESS),
        ("gemini", "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/google"),
        ("openai", "https://api.azure.example.com/anything"),
    ],
)
def test_what_takes_a_key_is_a_row(api: str, base_url: str) -> None:
    assert load(api, base_url).snapshot.providers["there"].base_url == base_url.rstrip("/")


@pytest.mark.parametrize(
    ("api", "base_url", "way"),
    [
        ("openai", AZURE, f"{AZURE}/openai/v1"),
        ("openai", f"{AZURE}/openai/deployments/gpt?api-version=2024-10-21", f"{AZURE}/openai/v1"),
        ("openai", f"{AZURE}/openai/deployments/gpt/chat/completions", f"{AZURE}/openai/v1"),
        (
            "anthropic",
            "https://mine.services.ai.azure.com/models",
            "https://mine.services.ai.azure.com/anthropic",
        ),
        ("openai", "https://aiplatform.googleapis.com/v1/projects/p/locations/l/endpoints/openapi", EXPRESS),
        ("gemini", "https://us-central1-aiplatform.googleapis.com", EXPRESS),
    ],
)
def test_what_does_not_is_refused_with_the_address_that_does(api: str, base_url: str, way: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(api, base_url)

    assert way in str(caught.value)
    assert "providers.there.base_url" in str(caught.value)


@pytest.mark.parametrize("token", ["eyJhbGciOiJub25lIn0.eyJzdWIiOiJub2JvZHkifQ.c2ln", "ya29.a0-nobodys"])
@pytest.mark.parametrize(("api", "base_url"), [("openai", f"{AZURE}/openai/v1"), ("gemini", EXPRESS)])
def test_a_token_that_ends_within_the_hour_is_no_key(api: str, base_url: str, token: str) -> None:
    with pytest.raises(ConfigError, match=r"THERE_API_KEY.*token that ends within the hour") as caught:
        load(api, base_url, token)

    assert token not in str(caught.value)


def test_elsewhere_a_key_may_look_like_a_token() -> None:
    assert load(
        "openai", "https://api.example.com/v1", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln"
    ).snapshot.house_keys


@pytest.mark.parametrize(("api", "path"), [("openai", "/v1/chat/completions"), ("anthropic", "/v1/messages")])
def test_azure_gets_its_key_in_its_own_header(
    make: Make, provider: LoopbackProvider, api: str, path: str
) -> None:
    row = f'[providers.there]\napi = "{api}"\nvendor = "azure"\nbase_url = "{provider.origin}/v1"\n'
    key = 'api_key_env = "LOOPBACK_OPENAI_KEY"\n'

    make("there:a-deployment", row + key).get_llm("f").invoke("hi")

    (request,) = provider.requests
    assert (request.path, request.model, request.key) == (path, "a-deployment", "house-key-of-openai")
    assert [name for name in ("api-key", "authorization", "x-api-key") if name in request.headers] == [
        "api-key"
    ]


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("", "/v1beta/models/gemini-3.5-flash:generateContent"),
        ("/v1beta", "/v1beta/models/gemini-3.5-flash:generateContent"),
        ("/v1/publishers/google", "/v1/publishers/google/models/gemini-3.5-flash:generateContent"),
    ],
)
def test_an_address_of_googles_may_name_its_version(
    make: Make, provider: LoopbackProvider, base: str, path: str
) -> None:
    row = f'[providers.there]\napi = "gemini"\nbase_url = "{provider.origin}{base}"\n'

    make("there:gemini-3.5-flash", row).get_llm("f").invoke("hi")

    assert provider.requests[-1].path == path
