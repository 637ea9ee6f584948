"""Every option reaches the wire of every API that has it, or is refused when the table is loaded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

import pytest
from google.genai.types import HarmBlockThreshold, HarmCategory
from pydantic import ValidationError

from backend.utils.llm.errors import ConfigError
from backend.utils.llm.models import EFFORTS, FAMILIES, Capabilities, find_capabilities
from backend.utils.llm.options import (
    Options,
    SafetyThresholds,
    Threshold,
    find_api_parameter,
    make_request_kwargs,
)
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from backend.utils.llm.testing import LoopbackProvider

VALUES: dict[str, Any] = {
    "temperature": 0.4,
    "top_p": 0.6,
    "seed": 4711,
    "max_output_tokens": 77,
    "effort": "low",
    "thinking_budget": 2048,
    "cache_retention": "24h",
    "service_tier": "flex",
    "verbosity": "medium",
    "user": "u-4711",
}
OURS = {"timeout", "connect_timeout", "first_chunk_timeout", "chunk_timeout"}
"""What we keep to ourselves; nothing of it is on the wire."""
BELOW = {"safety", "logprobs", "top_logprobs", "metadata"}
"""What has rules of its own, below; and what OpenAI refuses, as nothing is stored there."""
ENDPOINTS = {
    "openai": "openai:gpt-5.1",
    "responses": "openai:gpt-5.4",
    "gemini": "gemini:gemini-3.5-flash",
    "anthropic": "anthropic:claude-opus-4-5",
}
RESPONSES = '[models."openai:gpt-5.4"]\napi_mode = "responses"\n'
SPEAKS_LOGPROBS = Capabilities(logprobs=True)


def on_the_wire(provider: LoopbackProvider, wire: str, **options: Any) -> dict[str, Any]:
    """The body of a request with ``options``."""
    patchbay = loopback_patchbay(provider, {"f": ENDPOINTS[wire]}, RESPONSES)
    patchbay.get_llm("f").invoke("hi", **options)
    patchbay.close()
    return dict(provider.requests[-1].body)


def refused(option: str, wire: str) -> bool:
    if wire in {"gemini", "anthropic"}:
        return getattr(find_api_parameter(option), wire) is None
    return (
        find_api_parameter(option).name_in_api("openai", "responses" if wire == "responses" else "chat")
        is None
    )


def test_every_option_has_a_value_here() -> None:
    assert set(VALUES) == set(Options.model_fields) - OURS - BELOW
    assert all(find_api_parameter(option).ours for option in OURS)


@pytest.mark.parametrize("wire", ENDPOINTS)
@pytest.mark.parametrize("option", VALUES)
def test_an_option_is_on_the_wire_or_refused(option: str, wire: str, provider: LoopbackProvider) -> None:
    value = VALUES[option]
    table = f"{RESPONSES}[features.f]\noptions = {{ {option} = {json.dumps(value)} }}"

    if refused(option, wire):
        with pytest.raises(ConfigError, match=f"features.f.options.{option}"):
            loopback_patchbay(provider, {"f": ENDPOINTS[wire]}, table)
        return
    patchbay = loopback_patchbay(provider, {"f": ENDPOINTS[wire]}, table)
    patchbay.get_llm("f").invoke("hi")
    patchbay.close()

    assert str(value).lower() in json.dumps(provider.requests[-1].body).lower()


def test_an_option_that_only_responses_lacks_is_reported_as_such() -> None:
    told = Options(seed=1).list_unsupported_options(
        "openai", "gpt-5.4", find_capabilities("gpt-5.4"), "responses"
    )

    assert told == [("seed", "the openai API has no such option in Responses")]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_fixed_sampling_refuses_every_temperature(temperature: float) -> None:
    told = Options(temperature=temperature).list_unsupported_options(
        "openai", "gpt-6-luna", find_capabilities("gpt-6-luna")
    )

    assert told == [("temperature", "gpt-6-luna has fixed sampling and rejects it")]


@pytest.mark.parametrize("intent", EFFORTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_effort_becomes_one_that_the_model_has(family: str, intent: Any) -> None:
    can = find_capabilities(family)

    mapped = can.nearest_effort(intent)

    assert mapped in can.efforts if can.efforts else mapped is None
    assert mapped == intent or intent not in can.efforts


def test_options_of_a_call_are_laid_over_those_below() -> None:
    below = Options(effort="low", seed=1)

    assert Options(seed=2).with_defaults(below) == Options(effort="low", seed=2)


def test_a_vendors_prefix_does_not_hide_the_family() -> None:
    assert find_capabilities("google/gemini-3.5-flash") == find_capabilities("gemini-3.5-flash")


class TestSafety:
    """What Gemini's filters block is said on every request, and is nobody else's business."""

    def test_every_request_to_gemini_says_it(self, provider: LoopbackProvider) -> None:
        settings = on_the_wire(provider, "gemini")["safetySettings"]

        assert settings == [
            {"category": f"HARM_CATEGORY_{kind.upper()}", "threshold": "BLOCK_ONLY_HIGH"}
            for kind in SafetyThresholds.model_fields
        ]

    def test_a_kind_of_harm_is_set_by_itself(self, provider: LoopbackProvider) -> None:
        settings = on_the_wire(provider, "gemini", safety={"harassment": "off"})["safetySettings"]

        assert [setting["threshold"] for setting in settings] == ["OFF", *["BLOCK_ONLY_HIGH"] * 3]

    @pytest.mark.parametrize("wire", ["openai", "responses"])
    def test_safety_settings_are_not_sent_to_openai(self, wire: str, provider: LoopbackProvider) -> None:
        assert "safety" not in json.dumps(on_the_wire(provider, wire, safety={"harassment": "off"}))

    def test_a_table_may_set_it_for_every_provider(self, provider: LoopbackProvider) -> None:
        feature = '[features.f]\noptions = { safety = { hate_speech = "none" } }'

        patchbay = loopback_patchbay(provider, {"f": list(ENDPOINTS.values())}, RESPONSES + feature)

        assert patchbay.table.snapshot.features["f"].options.safety == SafetyThresholds(hate_speech="none")
        patchbay.close()

    def test_what_is_laid_over_leaves_the_other_kinds(self) -> None:
        below = Options(safety=SafetyThresholds(harassment="off", hate_speech="none"))

        over = Options(safety=SafetyThresholds(hate_speech="low_and_above")).with_defaults(below)

        assert over.safety == SafetyThresholds(harassment="off", hate_speech="low_and_above")

    def test_three_layers_are_as_two(self) -> None:
        below = Options(safety=SafetyThresholds(harassment="off"))
        middle = Options(safety=SafetyThresholds(hate_speech="none"))
        over = Options(safety=SafetyThresholds(dangerous_content="none"))

        assert over.with_defaults(middle).with_defaults(below) == over.with_defaults(
            middle.with_defaults(below)
        )

    def test_it_is_visible(self) -> None:
        assert Options().model_dump()["safety"]["sexually_explicit"] == "only_high"

    def test_an_unknown_kind_or_threshold_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="harrassment"):
            Options.model_validate({"safety": {"harrassment": "off"}})
        with pytest.raises(ValidationError, match="high"):
            Options.model_validate({"safety": {"harassment": "high"}})

    @pytest.mark.parametrize("threshold", get_args(Threshold))
    def test_every_word_is_one_of_googles(self, threshold: Threshold) -> None:
        for kind, named in (
            SafetyThresholds(harassment=threshold, hate_speech=threshold).to_gemini_settings().items()
        ):
            assert kind in HarmCategory.__members__
            assert named in HarmBlockThreshold.__members__


class TestLogprobs:
    """Only models that are known to tell them are asked for log probabilities."""

    def test_log_probabilities_of_a_model_without_them_are_refused(self) -> None:
        told = Options(logprobs=True, top_logprobs=2).list_unsupported_options(
            "openai", "gpt-5.1", find_capabilities("gpt-5.1")
        )

        assert told == [
            ("logprobs", "gpt-5.1 does not tell how likely its tokens were"),
            ("top_logprobs", "gpt-5.1 does not tell how likely its tokens were"),
        ]

    def test_not_to_ask_is_never_refused(self) -> None:
        assert (
            Options(logprobs=False).list_unsupported_options(
                "openai", "gpt-5.1", find_capabilities("gpt-5.1")
            )
            == []
        )

    @pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-4.1"])
    def test_openais_models_without_reasoning_send_log_probabilities(self, model: str) -> None:
        assert find_capabilities(model).logprobs

    @pytest.mark.parametrize(
        ("api", "names"),
        [("openai", ("logprobs", "top_logprobs")), ("gemini", ("response_logprobs", "logprobs"))],
    )
    def test_each_api_has_its_names(self, api: Any, names: tuple[str, str]) -> None:
        kwargs = make_request_kwargs(Options(logprobs=True, top_logprobs=3), api, SPEAKS_LOGPROBS)

        assert [kwargs[name] for name in names] == [True, 3]

    def test_how_many_implies_whether(self) -> None:
        assert make_request_kwargs(Options(top_logprobs=0), "openai", SPEAKS_LOGPROBS)["logprobs"] is True

    def test_not_whether_means_not_how_many(self) -> None:
        below = Options(top_logprobs=3)

        kwargs = make_request_kwargs(Options(logprobs=False).with_defaults(below), "openai", SPEAKS_LOGPROBS)

        assert not {"logprobs", "top_logprobs"} & set(kwargs)

    @pytest.mark.parametrize("count", [-1, 21])
    def test_there_are_twenty_at_most(self, count: int) -> None:
        with pytest.raises(ValidationError, match="top_logprobs"):
            Options(top_logprobs=count)
