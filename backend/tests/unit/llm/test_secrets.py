"""What is no key is told why, without being shown."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from backend.utils.llm import Caller, OwnEndpoint
from backend.utils.llm.errors import ConfigError
from backend.utils.llm.model_config import parse_table
from backend.utils.llm.secrets import find_key_problem

CANARY = "sk-canary-e11"
TABLE = """
profile = "p"
[providers.openai]
api = "openai"
api_key_env = "OPENAI_API_KEY"
[profiles.p]
chat = "openai:gpt-6-luna"
"""
PROBLEMS = {
    f"{CANARY}…": "is cut short, as an example shows it",
    f"{CANARY}...": "is cut short, as an example shows it",
    f'"{CANARY}"': "stands in quotation marks",
    f"'{CANARY}'": "stands in quotation marks",
    f"{CANARY} two": "holds characters that no key has",
    f"{CANARY}é": "holds characters that no key has",
}


@pytest.mark.parametrize(("text", "why"), PROBLEMS.items())
def test_a_callers_key_that_is_none_is_told_why(text: str, why: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Caller(keys={"openai": text})

    assert f"the key for openai {why}" in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(("text", "why"), PROBLEMS.items())
def test_a_key_of_an_own_endpoint_that_is_none_is_told_why(text: str, why: str) -> None:
    with pytest.raises(ValidationError) as caught:
        OwnEndpoint(base_url="https://models.example/v1", model="m", key=text)

    assert f"the key {why}" in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(("text", "why"), PROBLEMS.items())
def test_a_variables_key_that_is_none_is_told_why(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_table(TABLE, environ={"OPENAI_API_KEY": text})

    assert f"OPENAI_API_KEY (environment): {why}" in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("text", [CANARY, "a", "AIza-b_c", "key.with.dots"])
def test_what_could_be_a_key_is_taken(text: str) -> None:
    assert find_key_problem(text) is None
