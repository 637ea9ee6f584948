"""Every option reaches the wire of every API that has it, or is refused when the table is loaded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from backend.utils.llm.catalogue import EFFORTS, FAMILIES, capabilities
from backend.utils.llm.errors import ConfigError
from backend.utils.llm.options import Options, request_kwargs, wire_of
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from backend.utils.llm.testing import LoopbackProvider

VALUES: dict[str, Any] = {
    "temperature": 0.4,
    "top_p": 0.6,
    "seed": 4711,
    "max_output_tokens": 77,
    "effort": "low",
    "thinking_budget": 512,
    "cache_retention": "24h",
    "timeout": 33.0,
}
OURS = {"connect_timeout", "first_chunk_timeout", "chunk_timeout"}
"""What we keep to ourselves; nothing of it is on the wire."""
ENDPOINTS = {"openai": "openai:gpt-5.1", "gemini": "gemini:gemini-3.5-flash"}


def numbers(body: object) -> str:
    return json.dumps(body).lower()


def test_every_option_has_a_value_here() -> None:
    assert set(VALUES) == set(Options.model_fields) - OURS
    assert all(wire_of(option).ours for option in OURS)


@pytest.mark.parametrize("api", ENDPOINTS)
@pytest.mark.parametrize("option", VALUES)
def test_an_option_is_on_the_wire_or_refused(option: str, api: str, provider: LoopbackProvider) -> None:
    value = VALUES[option]
    feature = f"[features.f]\noptions = {{ {option} = {json.dumps(value)} }}"

    if not (wire_of(option).openai if api == "openai" else wire_of(option).gemini):
        with pytest.raises(ConfigError, match=f"features.f.options.{option}"):
            loopback_patchbay(provider, {"f": ENDPOINTS[api]}, feature)
        return
    patchbay = loopback_patchbay(provider, {"f": ENDPOINTS[api]}, feature)
    patchbay.get_llm("f").invoke("hi")
    patchbay.close()

    if option == "timeout":  # travels beside the body
        assert request_kwargs(Options(timeout=33.0), "gemini", capabilities("gemini-3"))["timeout"] == 33.0
    else:
        assert str(value).lower() in numbers(provider.requests[-1].body)


@pytest.mark.parametrize("intent", EFFORTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_effort_becomes_one_that_the_model_has(family: str, intent: Any) -> None:
    can = capabilities(family)

    mapped = can.nearest_effort(intent)

    assert mapped in can.efforts if can.efforts else mapped is None
    assert mapped == intent or intent not in can.efforts


def test_options_of_a_call_are_laid_over_those_below() -> None:
    below = Options(effort="low", seed=1)

    assert Options(seed=2).over(below) == Options(effort="low", seed=2)


def test_a_vendors_prefix_does_not_hide_the_family() -> None:
    assert capabilities("google/gemini-3.5-flash") == capabilities("gemini-3.5-flash")
