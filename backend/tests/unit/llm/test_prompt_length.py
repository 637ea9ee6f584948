"""About how long a prompt is, whatever its tools hold."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from backend.utils.llm.needs import BYTES_PER_TOKEN, prepare_history_and_needs
from backend.utils.llm.options import NO_OPTIONS
from backend.utils.llm.providers import CallSettings


def tokens(*tools: dict[str, Any]) -> int:
    _, needs = prepare_history_and_needs([HumanMessage("hi")], CallSettings(NO_OPTIONS, tools=tools))
    return needs.tokens


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"of": found}
    return found


@pytest.mark.parametrize(
    "tool",
    [{"description": "half a pair \ud83d"}, nested(300), {"default": {1, 2}}],
    ids=["half a surrogate pair", "300 objects within each other", "no JSON"],
)
def test_a_tool_that_is_hard_to_write_down_counts(tool: dict[str, Any]) -> None:
    assert tokens(tool) > tokens()


def test_a_tool_counts_by_its_bytes() -> None:
    word = "description" * 1_000

    longer = tokens({"name": "f", "description": word}) - tokens()

    assert len(word) <= longer * BYTES_PER_TOKEN <= len(word) + 100
