"""LMI's options as those of a table."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from backend.tests.unit.tools.lmi import FEATURE, effective, models, spec, table_of, told, wrong
from backend.tools.config_import.advice import INSTEAD, MISPLACED, NAMES
from backend.tools.config_import.specs import SPEC_KEYS
from backend.utils.llm.options import Options


class TestOptions:
    @pytest.mark.parametrize(
        ("params", "option", "value"),
        [
            ({"temperature": 0}, "temperature", 0),
            ({"top_p": 0.9}, "top_p", 0.9),
            ({"seed": 7}, "seed", 7),
            ({"max_tokens": 100}, "max_output_tokens", 100),
            ({"max_completion_tokens": 100}, "max_output_tokens", 100),
            ({"reasoning_effort": "low"}, "effort", "low"),
            ({"reasoning": {"effort": "low"}}, "effort", "low"),
            ({"logprobs": True}, "logprobs", True),
            ({"top_logprobs": 3}, "top_logprobs", 3),
        ],
    )
    def test_a_parameter_is_the_option_of_that_meaning(
        self, params: dict[str, Any], option: str, value: object
    ) -> None:
        assert getattr(effective(models(spec(extra_params=params)))[0], option) == value

    def test_every_name_leads_to_an_option(self) -> None:
        assert set(NAMES.values()) <= set(Options.model_fields)

    def test_no_parameter_is_both_translated_and_advised_against(self) -> None:
        assert not NAMES.keys() & (INSTEAD.keys() | MISPLACED.keys() | set(SPEC_KEYS))

    def test_a_typo_is_dropped_and_names_the_nearest(self) -> None:
        config = models(spec(extra_params={"temprature": 0.3}))

        assert told(config, "dropped") == [
            "dropped  models.0.extra_params.temprature: is no option here. Did you mean 'temperature'?"
        ]

    @pytest.mark.parametrize("key", [key for key in INSTEAD if key not in MISPLACED])
    def test_what_is_no_option_is_dropped_with_what_to_use_instead(self, key: str) -> None:
        assert told(models(spec(extra_params={key: 1})), "dropped")[0].endswith(INSTEAD[key])

    @pytest.mark.parametrize("key", MISPLACED)
    def test_what_decides_where_a_request_goes_is_wrong_among_the_parameters(self, key: str) -> None:
        assert wrong(models(spec(extra_params={key: "x"}))) == [f"models.0.extra_params.{key}"]

    @pytest.mark.parametrize(
        "params",
        [
            {"temperature": 3},
            {"temperature": "0"},
            {"max_tokens": 0},
            {"seed": 10**40},
            {"reasoning_effort": "much"},
        ],
    )
    def test_a_value_that_an_option_cannot_have_is_wrong(self, params: dict[str, Any]) -> None:
        assert wrong(models(spec(extra_params=params))) == [f"models.0.extra_params.{next(iter(params))}"]

    def test_two_parameters_that_disagree_on_one_option_are_wrong(self) -> None:
        params = {"max_tokens": 100, "max_completion_tokens": 200}

        assert wrong(models(spec(extra_params=params))) == ["models.0.extra_params.max_completion_tokens"]

    @pytest.mark.parametrize(
        ("name", "params"),
        [
            ("openai/gpt-6-luna", {"temperature": 0.5}),
            ("openai/gpt-4o", {"max_tokens": 10_000_000}),
            ("anthropic/claude-sonnet-5-5", {"logprobs": True, "top_logprobs": 3}),
            ("openai/gpt-4o", {"thinking": {"type": "enabled", "budget_tokens": 100}}),
        ],
    )
    def test_what_the_model_cannot_take_is_dropped(self, name: str, params: dict[str, Any]) -> None:
        config = models(spec(name, extra_params=params))

        assert len(told(config, "dropped")) == len(params)
        assert effective(config)[0].model_fields_set <= {"timeout", "safety"}

    def test_thinking_is_a_budget_for_gemini(self) -> None:
        def budget(**thinking: Any) -> int | None:
            params = {"thinking": thinking}
            return effective(models(spec("gemini/gemini-2.5-flash", extra_params=params)))[0].thinking_budget

        assert budget(type="enabled", budget_tokens=512) == 512
        assert budget(type="disabled") == 0

    def test_an_effort_that_the_model_does_not_offer_is_reported(self) -> None:
        config = models(spec("openai/gpt-6.1-sol", extra_params={"reasoning_effort": "max"}))

        assert "is sent as xhigh, the nearest level" in told(config, "changed")[0]

    def test_lmis_filters_are_ours_and_not_written(self) -> None:
        kinds = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
        settings = [{"category": f"HARM_CATEGORY_{kind}", "threshold": "BLOCK_ONLY_HIGH"} for kind in kinds]
        config = models(spec("gemini/gemini-3.8-flash", extra_params={"safety_settings": settings}))

        assert told(config) == []
        assert "safety" not in tomllib.loads(table_of(config))["features"][FEATURE]["options"]

    def test_other_filters_are_kept(self) -> None:
        settings = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
        config = models(spec("gemini/gemini-3.8-flash", extra_params={"safety_settings": settings}))

        safety = effective(config)[0].safety
        assert (safety.harassment, safety.hate_speech) == ("none", "only_high")

    def test_filters_are_dropped_where_there_are_none(self) -> None:
        settings = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]

        assert len(told(models(spec(extra_params={"safety_settings": settings})), "dropped")) == 1

    def test_a_filter_of_an_unknown_kind_is_dropped_and_one_of_an_unknown_level_is_wrong(self) -> None:
        def settings(category: str, threshold: str) -> dict[str, Any]:
            listed = [{"category": category, "threshold": threshold}]
            return models(spec("gemini/gemini-3.8-flash", extra_params={"safety_settings": listed}))

        assert len(told(settings("HARM_CATEGORY_CIVIC_INTEGRITY", "BLOCK_NONE"), "dropped")) == 1
        assert wrong(settings("HARM_CATEGORY_HARASSMENT", "SOMETIMES"))
