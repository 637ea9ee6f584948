"""LMI's routers, and its settings of retries and limits, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from backend.tests.unit.tools.lmi import (
    FEATURE,
    attempts,
    chain,
    effective,
    entry,
    key_variable,
    models,
    only,
    snapshot,
    spec,
    table_of,
    told,
    wrong,
)

CANARY = "sk-canary-77a1b2c3"


class TestRouter:
    def test_one_model_is_a_chain_of_one(self) -> None:
        assert chain({"model_list": [entry("a", "openai/gpt-4o")]}) == ["openai:gpt-4o"]

    def test_the_first_comes_first_then_its_fallbacks_then_the_others(self) -> None:
        config = {
            "model_list": [entry(name, f"openai/{name}") for name in ("a", "b", "c", "d")],
            "fallbacks": [{"a": ["d", "c"]}],
        }

        assert chain(config) == ["openai:a", "openai:d", "openai:c", "openai:b"]

    def test_every_unknown_fallback_is_wrong(self) -> None:
        config = {"model_list": [entry("a", "openai/a")], "fallbacks": [{"a": ["x", "y"]}, {"z": ["a"]}]}

        assert wrong(config) == ["fallbacks.0.a.0", "fallbacks.0.a.1", "fallbacks.1.z"]

    def test_a_model_serves_once_however_often_it_is_a_fallback(self) -> None:
        config = {
            "model_list": [entry("a", "openai/a"), entry("b", "openai/b")],
            "fallbacks": [{"a": ["b", "b", "a"]}],
        }

        assert chain(config) == ["openai:a", "openai:b"]
        assert len(told(config, "dropped")) == 2

    def test_the_last_list_of_fallbacks_holds_with_a_note(self) -> None:
        config = {
            "model_list": [entry(name, f"openai/{name}") for name in ("a", "b", "c")],
            "fallbacks": [{"a": ["b"]}, {"a": ["c"]}],
        }

        assert chain(config) == ["openai:a", "openai:c", "openai:b"]
        assert len(told(config, "changed")) == 1

    def test_fallbacks_of_fallbacks_are_dropped(self) -> None:
        config = {
            "model_list": [entry(name, f"openai/{name}") for name in ("a", "b", "c")],
            "fallbacks": [{"b": ["c"]}],
        }

        assert (
            "fallbacks.0.b: LMI follows the fallbacks of its first model only" in told(config, "dropped")[0]
        )

    def test_a_group_of_one_name_is_kept_whole_with_a_note(self) -> None:
        config = {"model_list": [entry("a", "openai/x"), entry("b", "openai/y"), entry("a", "openai/z")]}

        assert chain(config) == ["openai:x", "openai:z", "openai:y"]
        assert "shares its model_name" in told(config, "changed")[0]

    def test_the_routers_values_hold_where_a_model_sets_none(self) -> None:
        config = {
            "model_list": [entry("a", "openai/a"), entry("b", "openai/b", timeout=5, max_retries=0)],
            "router_kwargs": {"timeout": 30, "num_retries": 1},
        }

        assert [options.timeout for options in effective(config)] == [30, 5]
        assert attempts(config) == [2, 1]

    def test_a_null_timeout_is_lmis_next_value_with_a_note(self) -> None:
        config = {"model_list": [entry("a", "openai/a", timeout=None)]}

        assert effective(config)[0].timeout == 60
        assert len(told(config, "changed")) == 1

    def test_everything_else_of_a_model_is_a_parameter(self) -> None:
        config = {"model_list": [entry("a", "openai/gpt-4o", temperature=0.3, api_key=CANARY)]}

        assert effective(config)[0].temperature == 0.3
        assert key_variable(only(config).provider) == "OPENAI_API_KEY"

    @pytest.mark.parametrize(
        "config",
        [
            {"context_window_fallbacks": [{"a": ["a"]}]},
            {"router_kwargs": {"cooldown_time": 30}},
            {"router_settings": {"routing_strategy": "least-busy"}},
        ],
    )
    def test_what_lmi_has_no_use_for_is_dropped(self, config: dict[str, Any]) -> None:
        assert len(told({"model_list": [entry("a", "openai/a")], **config}, "dropped")) == 1

    @pytest.mark.parametrize("element", [{}, {"model_name": "a"}, {"litellm_params": {"model": "openai/a"}}])
    def test_an_entry_needs_its_name_and_its_model(self, element: dict[str, Any]) -> None:
        assert set(wrong({"model_list": [element]})) == {"model_list.0"}

    def test_a_model_without_a_model_is_wrong(self) -> None:
        assert wrong({"model_list": [{"model_name": "a", "litellm_params": {}}]}) == [
            "model_list.0.litellm_params"
        ]


class TestSettling:
    """What all models of a feature share stands with the feature, what differs with the endpoint."""

    def test_what_is_the_same_stands_with_the_feature(self) -> None:
        config = models(spec(extra_params={"seed": 7}), spec("openai/gpt-4.1", extra_params={"seed": 7}))

        assert snapshot(config).features[FEATURE].options.seed == 7
        assert "[models" not in table_of(config)

    def test_what_differs_stands_with_the_endpoints(self) -> None:
        config = models(
            spec(max_retries=1, extra_params={"temperature": 0.1}),
            spec("openai/gpt-4.1", max_retries=1, extra_params={"temperature": 0.9}),
            spec("openai/gpt-6-luna", max_retries=0, timeout=9),
        )

        assert [options.temperature for options in effective(config)] == [0.1, 0.9, None]
        assert [options.timeout for options in effective(config)] == [60, 60, 9]
        assert attempts(config) == [2, 2, 1]

    def test_features_of_one_endpoint_may_differ_in_what_stands_with_them(self) -> None:
        config = {
            "a": {"name": "openai/gpt-4o", "temperature": 0.1, "max_retries": 0},
            "b": {"name": "openai/gpt-4o", "temperature": 0.9, "timeout": 5},
        }

        assert [effective(config, feature)[0].temperature for feature in "ab"] == [0.1, 0.9]
        assert [attempts(config, feature) for feature in "ab"] == [[1], [4]]

    @pytest.mark.parametrize(
        "other",
        [
            models("openai/gpt-4o"),
            models(spec(extra_params={"temperature": 0.2}), "openai/gpt-4.1"),
        ],
    )
    def test_features_that_want_one_endpoint_otherwise_are_wrong(self, other: dict[str, Any]) -> None:
        config = {"a": models(spec(extra_params={"temperature": 0.1}), "openai/gpt-4.1"), "b": other}

        assert wrong(config) == ["b.models.0"]

    @pytest.mark.parametrize("field", [{"max_retries": 0}, {"responses_api": True}])
    def test_an_endpoint_has_one_number_of_attempts_and_one_api(self, field: dict[str, Any]) -> None:
        config = {"a": models(spec(**field), "openai/gpt-4.1", "openai/gpt-4.1-mini"), "b": "openai/gpt-4o"}

        assert wrong(config) == ["b"]

    def test_an_endpoint_serves_once_in_a_chain(self) -> None:
        config = models("openai/gpt-4o", "gpt-4o")

        assert chain(config) == ["openai:gpt-4o"]
        assert told(config, "dropped") == [
            "dropped  models.1: is openai:gpt-4o, as models.0 is: once is enough."
        ]

    def test_an_endpoint_that_a_chain_wants_twice_otherwise_is_wrong(self) -> None:
        assert wrong(models("openai/gpt-4o", spec(extra_params={"temperature": 0.3}))) == ["models.1"]
