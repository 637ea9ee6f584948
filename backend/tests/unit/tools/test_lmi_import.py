"""LMI's configurations as tables. Many of these rules restate LMI's own tests of its configuration."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backend.tools.config_import import UnusableInputError, import_config, import_file
from backend.tools.config_import.advice import INSTEAD, MISPLACED, NAMES
from backend.tools.config_import.specs import SPEC_KEYS
from backend.tools.config_import.vendors import VENDORS, house_variable
from backend.utils.llm.model_config import load, parse
from backend.utils.llm.options import Options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backend.utils.llm.model_config import Endpoint, Provider, Snapshot

ROOT = Path(__file__).parents[4]
CANARY = "sk-canary-77a1b2c3"
FEATURE = "lmi"


def snapshot(config: object) -> Snapshot:
    """The table that ``config`` becomes, loaded."""
    made = import_config(config, source="lmi.json", system="lmi")
    assert made.table is not None, "\n".join(map(str, made.findings))
    return parse(made.table, environ={})


def told(config: object, kind: str = "") -> list[str]:
    """What the report says about ``config`` in particular."""
    findings = import_config(config, source="lmi.json", system="lmi").findings
    general = {found for found in findings if found.kind == "changed" and not found.path}
    return [str(found) for found in findings if found.kind.startswith(kind) and found not in general]


def wrong(config: object) -> list[str]:
    """What is wrong with ``config``, by path; nothing is written then."""
    made = import_config(config, source="lmi.json", system="lmi")
    assert made.table is None
    return [found.path for found in made.findings if found.kind == "wrong"]


def chain(config: object, feature: str = FEATURE) -> list[str]:
    return [str(endpoint) for endpoint in snapshot(config).chain(feature, "premium")]


def models(*specs: Mapping[str, Any] | str) -> dict[str, Any]:
    return {"models": [{"name": spec} if isinstance(spec, str) else spec for spec in specs]}


def spec(name: str = "openai/gpt-4o", /, **fields: Any) -> dict[str, Any]:
    return {"name": name, **fields}


def entry(name: str, model: str, **params: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": model, **params}}


def only(config: object) -> Endpoint:
    """The one endpoint of a config with one model."""
    (endpoint,) = snapshot(config).chain(FEATURE, "premium")
    return endpoint


def effective(config: object, feature: str = FEATURE) -> list[Options]:
    """What each endpoint of the chain is asked with: the feature's options over its own."""
    table = snapshot(config)
    over = table.features[feature].options
    return [over.over(endpoint.options) for endpoint in table.chain(feature, "premium")]


def attempts(config: object, feature: str = FEATURE) -> list[int]:
    table = snapshot(config)
    usual = table.features[feature].attempts
    return [endpoint.attempts or usual for endpoint in table.chain(feature, "premium")]


class TestShapes:
    def test_models_are_the_chain_in_their_order(self) -> None:
        config = models("openai/gpt-4o", "gemini/gemini-3.8-flash", "openrouter/qwen/qwen3-32b")

        assert chain(config) == ["openai:gpt-4o", "gemini:gemini-3.8-flash", "openrouter:qwen/qwen3-32b"]

    def test_a_name_with_keywords_is_a_chain_of_one(self) -> None:
        config = {"name": "openai/gpt-4o", "temperature": 0.2, "timeout": 30}

        assert chain(config) == ["openai:gpt-4o"]
        assert (effective(config)[0].temperature, effective(config)[0].timeout) == (0.2, 30)

    def test_a_bare_string_is_a_name(self) -> None:
        assert chain("openai/gpt-4o") == ["openai:gpt-4o"]

    def test_a_mapping_names_features(self) -> None:
        config = {"first": "openai/gpt-4o", "second": models("openai/gpt-4.1")}

        assert chain(config, "first") == ["openai:gpt-4o"]
        assert chain(config, "second") == ["openai:gpt-4.1"]

    def test_both_profiles_serve_every_feature(self) -> None:
        table = snapshot(models("openai/gpt-4o"))

        assert (table.profile, table.byok_profile) == ("premium", "byok")
        assert set(table.chains["byok"]) == {FEATURE}

    def test_explicit_extra_params_go_over_keywords(self) -> None:
        config = {"name": "openai/gpt-4o", "temperature": 0.2, "extra_params": {"temperature": 0.7}}

        assert effective(config)[0].temperature == 0.7
        assert "dropped  temperature: extra_params.temperature goes over it, as in LMI." in told(config)

    def test_a_name_that_is_no_identifier_becomes_one_with_a_note(self) -> None:
        assert chain({"Paper QA": "openai/gpt-4o"}, "paper_qa") == ["openai:gpt-4o"]
        assert told({"Paper QA": "openai/gpt-4o"}, "changed")[0].startswith("changed  'Paper QA': ")

    def test_two_names_that_become_one_feature_are_wrong(self) -> None:
        assert wrong({"a b": "openai/gpt-4o", "a-b": "openai/gpt-4o"}) == ["a-b"]

    @pytest.mark.parametrize("value", [None, 3, [], True, {}, 2.5])
    def test_what_is_no_config_is_wrong(self, value: object) -> None:
        assert wrong(value) == [""]

    @pytest.mark.parametrize("value", [None, 3, [], {}, {"temperature": 1}])
    def test_a_feature_without_a_config_is_wrong(self, value: object) -> None:
        assert wrong({"greet": value}) == ["greet"]

    def test_models_and_model_list_together_are_wrong(self) -> None:
        assert wrong(models("openai/gpt-4o") | {"model_list": []}) == [""]

    @pytest.mark.parametrize("key", ["models", "model_list"])
    def test_a_chain_without_models_is_wrong(self, key: str) -> None:
        assert wrong({key: []}) == [key]

    def test_a_router_needs_its_model_list(self) -> None:
        assert wrong({"router_kwargs": {"timeout": 5}}) == [""]

    @pytest.mark.parametrize("key", ["config", "llm_config"])
    def test_the_shell_around_a_config_is_wrong(self, key: str) -> None:
        assert wrong({"name": "openai/gpt-4o", key: models("openai/gpt-4o")}) == [key]

    def test_every_problem_is_reported_with_its_path(self) -> None:
        config = {
            "a": models(spec(timeout="60", max_retries=-1, nme=1), 3),  # type: ignore[arg-type]
            "b": {"model_list": [entry("x", "azure/gpt")], "fallbacks": [{"x": ["y"]}]},
            "c": "mystery",
        }

        assert sorted(wrong(config)) == [
            "a.models.0.max_retries",
            "a.models.0.nme",
            "a.models.0.timeout",
            "a.models.1",
            "b.fallbacks.0.x.0",
            "b.model_list.0.litellm_params.model",
            "c",
        ]


class TestModelSpec:
    def test_unset_values_are_those_of_lmi(self) -> None:
        config = models("openai/gpt-4o")

        assert attempts(config) == [4]
        assert effective(config)[0].timeout == 60
        assert effective(config)[0].model_fields_set <= {"timeout", "safety"}

    def test_null_counts_as_unset(self) -> None:
        config = models(spec(api_base=None, api_key=None, extra_params=None))

        assert told(config, "wrong") == told(config, "dropped") == []

    def test_an_unknown_key_is_wrong_and_names_the_nearest(self) -> None:
        assert "Did you mean 'timeout'?" in told(models(spec(timeuot=3)), "wrong")[0]

    def test_a_parameter_beside_the_name_is_shown_its_place(self) -> None:
        assert "Write it under extra_params." in told(models(spec(temperature=0.3)), "wrong")[0]

    @pytest.mark.parametrize("retries", [-1, 1.5, "3", True])
    def test_retries_that_are_no_whole_number_are_wrong(self, retries: object) -> None:
        assert wrong(models(spec(max_retries=retries))) == ["models.0.max_retries"]

    @pytest.mark.parametrize(("retries", "expected"), [(0, 1), (3, 4), (9, 10), (10, 10), (500, 10)])
    def test_attempts_are_the_first_request_and_the_retries_up_to_ten(
        self, retries: int, expected: int
    ) -> None:
        config = models(spec(max_retries=retries))

        assert attempts(config) == [expected]
        assert bool(told(config, "changed")) == (retries > 9)

    def test_no_timeout_becomes_the_longest_with_a_note(self) -> None:
        config = models(spec(timeout=None))

        assert effective(config)[0].timeout == 3600
        assert told(config, "changed") == [
            "changed  models.0.timeout: no timeout becomes the longest, 3600 seconds."
        ]

    @pytest.mark.parametrize("timeout", [0, -5, float("nan"), "60", True, []])
    def test_a_timeout_that_can_be_none_is_wrong(self, timeout: object) -> None:
        assert wrong(models(spec(timeout=timeout))) == ["models.0.timeout"]

    @pytest.mark.parametrize("timeout", [3601, 10**400, float("inf")])
    def test_a_timeout_that_is_too_long_becomes_the_longest(self, timeout: float) -> None:
        assert effective(models(spec(timeout=timeout)))[0].timeout == 3600

    def test_a_slow_model_may_be_slow_to_begin(self) -> None:
        assert effective(models(spec(timeout=300)))[0].first_chunk_timeout == 300

    def test_the_responses_api_is_a_mode_of_the_endpoint(self) -> None:
        assert only(models(spec(responses_api=True))).api_mode == "responses"
        assert only(models(spec(responses_api=False))).api_mode == "chat"

    @pytest.mark.parametrize("name", ["gemini/gemini-3.8-flash", "anthropic/claude-sonnet-5-5"])
    def test_the_responses_api_is_dropped_where_there_is_none(self, name: str) -> None:
        config = models(spec(name, responses_api=True))

        assert only(config).api_mode == "chat"
        assert len(told(config, "dropped")) == 1

    def test_limits_leave_room_for_all_that_lmi_would_try(self) -> None:
        table = snapshot(models("openai/gpt-4o", "openai/gpt-4.1", "gemini/gemini-3.8-flash"))

        feature = table.features[FEATURE]
        assert (feature.deadline, feature.max_attempts, feature.on_refusal) == (720, 12, "next")

    def test_a_deadline_is_an_hour_at_most(self) -> None:
        assert snapshot(models(spec(timeout=None))).features[FEATURE].deadline == 3600

    @pytest.mark.parametrize("key", ["tool_parser", "response_validator", "rate_limit", "request_limit"])
    def test_what_no_table_holds_is_dropped_with_what_to_use_instead(self, key: str) -> None:
        value = {"openai/gpt-4o": "10 per 1 minute"}
        shapes = [
            models("openai/gpt-4o") | {key: value},
            {"name": "openai/gpt-4o", key: value},
            {"model_list": [entry("a", "openai/gpt-4o")], key: value},
        ]

        assert [told(shape, "dropped") for shape in shapes] == [[f"dropped  {key}: {INSTEAD[key]}"]] * 3


class TestNames:
    @pytest.mark.parametrize(
        ("name", "endpoint"),
        [
            ("gpt-4o", "openai:gpt-4o"),
            ("o3-mini", "openai:o3-mini"),
            ("o1", "openai:o1"),
            ("chatgpt-4o-latest", "openai:chatgpt-4o-latest"),
            ("claude-sonnet-5-5", "anthropic:claude-sonnet-5-5"),
        ],
    )
    def test_a_bare_name_is_read_as_litellm_reads_it_with_a_note(self, name: str, endpoint: str) -> None:
        assert chain(name) == [endpoint]
        assert len(told(models(name), "guessed")) == 1

    def test_a_bare_gemini_name_is_a_warning(self) -> None:
        config = models("gemini-3.8-flash")

        assert chain(config) == ["gemini:gemini-3.8-flash"]
        assert "VERTEX AI" in told(config, "guessed")[0]

    @pytest.mark.parametrize(
        "name",
        ["mistral-large", "o2", "", "openai/", "/gpt-4o", "openai/gpt 4o", "openai/gpt\u00e9", "\ud800"],
    )
    def test_what_names_no_provider_or_no_model_is_wrong(self, name: str) -> None:
        assert wrong(models(name)) == ["models.0.name"]

    @pytest.mark.parametrize("name", [3, ["gpt-4o"], {"a": 1}, True])
    def test_a_name_that_is_no_text_is_wrong(self, name: object) -> None:
        assert wrong({"models": [{"name": name}]}) == ["models.0.name"]

    def test_a_missing_name_is_wrong(self) -> None:
        assert wrong({"models": [{}, {"name": None}]}) == ["models.0", "models.1"]

    @pytest.mark.parametrize(
        "name", ["azure/gpt-4o", "bedrock/x", "vertex_ai/gemini-2.5-pro", "nobody/llama"]
    )
    def test_a_provider_without_a_row_or_an_address_is_an_error_with_a_remedy(self, name: str) -> None:
        (problem,) = told(models(name), "wrong")

        assert "api_base" in problem or "Write gemini/" in problem

    def test_an_api_in_the_name_is_wrong(self) -> None:
        assert "responses_api: true" in told(models("openai/responses/gpt-4o"), "wrong")[0]

    def test_a_model_that_retires_is_reported(self) -> None:
        assert "gpt-4o is off sale from 2027-01-14" in told(models("openai/gpt-4o"), "todo")[0]

    def test_the_vendors_are_the_shipped_tables(self) -> None:
        shipped = load(environ={}).providers
        imported = snapshot(models(*(f"{vendor}/some-model" for vendor in VENDORS))).providers

        assert {name: _address(shipped[name]) for name in VENDORS} == {
            name: _address(row) for name, row in imported.items()
        }


def _variable(provider: Provider) -> str | None:
    return next(iter(provider.api_key_envs), None)


def _address(provider: Provider) -> tuple[str, str, str | None]:
    return provider.api, provider.base_url, _variable(provider)


class TestAddresses:
    def test_a_server_of_ones_own_gets_a_row(self) -> None:
        provider = only(models(spec("openai/qwen3", api_base="http://10.0.0.7:8000/v1"))).provider

        assert (provider.name, provider.base_url) == ("openai-10-0-0-7-8000", "http://10.0.0.7:8000/v1")
        assert provider.access == "open"

    @pytest.mark.parametrize("vendor", VENDORS)
    def test_a_vendors_address_is_the_vendors_row(self, vendor: str) -> None:
        for address in VENDORS[vendor].addresses:
            config = models(spec(f"{vendor}/a-model", api_base=f"{address}/"))

            assert only(config).provider.name == vendor

    def test_a_server_that_speaks_openais_protocol_gets_a_row_of_its_name(self) -> None:
        config = models(spec("hosted_vllm/org/qwen3", api_base="http://localhost:8000/v1"))

        assert chain(config) == ["hosted_vllm:org/qwen3"]
        assert told(config, "guessed") == []

    def test_a_provider_of_which_nothing_tells_what_it_speaks_is_wrong(self) -> None:
        config = models(spec("nobody/qwen3", api_base="http://localhost:8000/v1"))

        assert wrong(config) == ["models.0.name"]
        assert "write openai/MODEL" in told(config, "wrong")[0]

    def test_each_address_has_a_row_of_its_own(self) -> None:
        names = [
            spec("vllm/a", api_base="http://localhost:1/v1"),
            spec("vllm/b", api_base="http://localhost:2/v1"),
            spec("vllm/c", api_base="http://localhost:1/v1"),
        ]

        assert chain(models(*names)) == ["vllm:a", "vllm-localhost-2:b", "vllm:c"]

    def test_a_server_without_a_key_is_reported_to_need_one(self) -> None:
        config = models(spec("vllm/a", api_base="https://llm.example.com/v1"))

        assert _variable(only(config).provider) == "VLLM_API_KEY"
        assert "set VLLM_API_KEY" in told(config, "todo")[0]

    @pytest.mark.parametrize(
        "address",
        [
            f"https://user:{CANARY}@llm.example.com/v1",
            f"https://llm.example.com/v1?key={CANARY}",
            f"https://llm.example.com/{CANARY}/v1",
            "llm.example.com/v1",
            "ftp://llm.example.com",
            "http://[::1",
            "https://llm example.com",
            "os.environ/LLM_BASE",
            3,
        ],
    )
    def test_an_address_that_no_row_can_hold_is_wrong(self, address: object) -> None:
        assert wrong(models(spec(api_base=address))) == ["models.0.api_base"]

    @pytest.mark.parametrize("key", [CANARY, "**********", "os.environ/LLM_KEY"])
    def test_a_key_does_not_travel_in_clear_text(self, key: str) -> None:
        config = models(spec(api_base="http://10.0.0.7/v1", api_key=key))

        assert "must be https" in told(config, "wrong")[0]

    @pytest.mark.parametrize("filler", ["EMPTY", "dummy", "not-needed"])
    def test_a_word_in_place_of_a_key_is_no_key(self, filler: str) -> None:
        config = models(spec(api_base="http://10.0.0.7/v1", api_key=filler))

        assert only(config).provider.access == "open"
        assert "models.0.api_key: is taken for no key" in told(config, "dropped")[0]


class TestKeys:
    def test_a_key_becomes_the_variable_to_set(self) -> None:
        config = models(spec(api_key=CANARY))

        assert _variable(only(config).provider) == "OPENAI_API_KEY"
        assert "todo     models.0.api_key: set OPENAI_API_KEY to this key; a table holds none." in told(
            config
        )

    def test_each_key_of_a_provider_has_a_row_and_a_variable(self) -> None:
        config = models(
            spec(api_key=CANARY),
            spec(api_key=f"{CANARY}-2"),
            spec("openai/gpt-4.1", api_key=CANARY),
            spec(),
        )

        assert chain(config) == ["openai-2:gpt-4o", "openai-3:gpt-4o", "openai-2:gpt-4.1", "openai:gpt-4o"]
        assert {name: _variable(row) for name, row in snapshot(config).providers.items()} == {
            "openai": "OPENAI_API_KEY",
            "openai-2": "OPENAI_2_API_KEY",
            "openai-3": "OPENAI_3_API_KEY",
        }

    def test_a_named_variable_is_kept(self) -> None:
        assert _variable(only(models(spec(api_key="os.environ/MY_KEY"))).provider) == "MY_KEY"

    def test_a_variable_that_the_input_names_is_given_to_no_other_key(self) -> None:
        config = models(
            spec("hosted_vllm/a", api_base="https://a.example/v1", api_key="os.environ/OPENAI_API_KEY"),
            spec(api_key=CANARY),
        )

        assert _variable(snapshot(config).providers["openai"]) == "OPENAI_API_KEY_2"

    def test_a_variable_that_no_row_can_name_is_wrong(self) -> None:
        assert wrong(models(spec(api_key="os.environ/my-key"))) == ["models.0.api_key"]

    def test_a_mask_is_no_key(self) -> None:
        config = models(spec(api_key="**********"))

        assert _variable(only(config).provider) == house_variable("openai")
        assert "This is a mask" in told(config, "todo")[0]

    @pytest.mark.parametrize("key", [3, ["sk"], {"value": CANARY}])
    def test_a_key_that_is_no_text_is_wrong(self, key: object) -> None:
        assert wrong(models(spec(api_key=key))) == ["models.0.api_key"]

    @pytest.mark.parametrize(
        "config",
        [
            models(spec(api_key=CANARY)),
            models(spec(api_key=CANARY, api_base=f"https://h/{CANARY}")),
            models(spec(api_key=f"os.environ/{CANARY}")),
            models(spec(api_base=f"https://u:{CANARY}@h/v1")),
            models(spec(api_base=f"https://h/v1?{CANARY}")),
            models(spec(extra_params={"extra_headers": {"Authorization": f"Bearer {CANARY}"}})),
            models(spec(extra_params={"headers": {"X-Key": CANARY}, CANARY: CANARY})),
            models(spec(extra_params={"api_key": CANARY, "temperature": CANARY, "max_tokens": CANARY})),
            models(
                spec(extra_params={"reasoning_effort": CANARY, "safety_settings": [{"category": CANARY}]})
            ),
            models(spec(CANARY), spec(f"openai/{CANARY}"), spec(timeout=CANARY, responses_api=CANARY)),
            {"model_list": [entry(CANARY, CANARY, api_key=CANARY)], "fallbacks": [{CANARY: [CANARY, "x"]}]},
            {"name": "openai/gpt-4o", "api_key": CANARY, "config": CANARY},
            {CANARY: CANARY},
            CANARY,
            [CANARY],
        ],
    )
    def test_no_key_gets_out(self, config: object) -> None:
        made = import_config(config, source="lmi.json", system="lmi")

        assert CANARY not in f"{made}"
        assert CANARY.removeprefix("sk-") not in f"{made}"

    def test_a_key_that_looks_like_no_key_is_hidden_where_it_stands_again(self) -> None:
        config = models(spec(api_key="correct horse"), spec("correct horse"))

        assert "correct horse" not in str(import_config(config, source="lmi.json", system="lmi"))


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
        assert "safety" not in tomllib.loads(_table(config))["features"][FEATURE]["options"]

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


def _table(config: object) -> str:
    return import_config(config, source="lmi.json", system="lmi").table or ""


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
        assert _variable(only(config).provider) == "OPENAI_API_KEY"

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
        assert "[models" not in _table(config)

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


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("lmi.json", '{"models": [{"name": "openai/gpt-4o"}]}'),
            ("lmi.json", '\ufeff{"models": [{"name": "openai/gpt-4o"}]}'),
            ("lmi.toml", '[[models]]\nname = "openai/gpt-4o"'),
            ("lmi.yaml", "models:\n- name: openai/gpt-4o"),
            ("LMI.YML", "models:\n- name: openai/gpt-4o"),
        ],
    )
    def test_a_file_is_read_as_its_name_ends(self, tmp_path: Path, name: str, text: str) -> None:
        (path := tmp_path / name).write_text(text, encoding="utf-8")

        table = import_file(path).table or ""

        assert tomllib.loads(table)["profiles"]["premium"] == {"lmi": "openai:gpt-4o"}
        assert table.startswith(f"# Imported from {name}, ")

    def test_the_feature_is_named_by_the_file_unless_by_the_caller(self, tmp_path: Path) -> None:
        (path := tmp_path / "2 Paper-QA.json").write_text('"openai/gpt-4o"')

        assert "\nfeature_2_paper_qa = " in (import_file(path).table or "")
        assert "\nanswers = " in (import_file(path, feature="answers").table or "")

    @pytest.mark.parametrize("feature", ["Answers", "a b", "", "extends", "1st"])
    def test_a_feature_that_cannot_be_called_so_is_refused(self, feature: str) -> None:
        with pytest.raises(UnusableInputError, match="--feature"):
            import_config("openai/gpt-4o", source="lmi.json", feature=feature)

    def test_the_features_of_a_file_that_names_them_cannot_be_named_again(self) -> None:
        with pytest.raises(UnusableInputError, match="names its features"):
            import_config({"a": "openai/gpt-4o"}, source="lmi.json", feature="b")

    @pytest.mark.writes_keys("lmi.*", "a configuration to import")
    @pytest.mark.parametrize(
        ("name", "text", "reason"),
        [
            ("lmi.txt", "{}", "named .json, .toml, .yaml or .yml"),
            ("lmi.json", f'{{"a": "{CANARY}", ]', r"is not JSON \(at line 1, column"),
            ("lmi.json", f'{{"{CANARY}": 1, "{CANARY}": 2}}', "stands twice"),
            ("lmi.json", '{"models": [], "models": []}', "'models' stands twice"),
            ("lmi.json", "[" * 100_000, "nested too deeply|is not JSON"),
            ("lmi.json", "9" * 5_000, "is not JSON"),
            ("lmi.toml", f"a = {CANARY}", r"is not TOML \(at line 1, column"),
            ("lmi.yaml", f"a: [{CANARY}", r"is not YAML \(at line 1, column"),
            ("lmi.yaml", f"a: *{CANARY}", r"is not YAML \(at line 1, column"),
            ("lmi.yaml", "a: 2026-99-99", "is not YAML"),
            ("lmi.yaml", "? [x]\n: 1", "is not YAML"),
            ("lmi.yaml", "b:\n  a: 1\n  a: 2", "'a' stands twice"),
            ("lmi.yaml", "!!python/object:os.system a", "is not YAML"),
            ("lmi.yaml", "\x00", "is not YAML"),
        ],
    )
    def test_an_unreadable_file_is_reported_without_quoting_it(
        self, tmp_path: Path, name: str, text: str, reason: str
    ) -> None:
        (path := tmp_path / name).write_text(text)

        with pytest.raises(UnusableInputError, match=reason) as caught:
            import_file(path)

        assert CANARY not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_a_missing_file_and_a_binary_file_are_reported(self, tmp_path: Path) -> None:
        (path := tmp_path / "lmi.json").write_bytes(b"\xff\xfe\x00")

        with pytest.raises(UnusableInputError, match="No such file"):
            import_file(tmp_path / "none.json")
        with pytest.raises(UnusableInputError, match="UTF-8"):
            import_file(path)

    @pytest.mark.parametrize("text", ["a: &a [*a]", "models: &a\n- *a", "a: &a\n  name: *a", "1: gpt-4o"])
    def test_unusual_yaml_is_reported_like_any_other(self, tmp_path: Path, text: str) -> None:
        (path := tmp_path / "lmi.yaml").write_text(text)

        made = import_file(path)

        assert made.table is None
        assert made.findings

    def test_the_files_name_cannot_leave_its_comment(self) -> None:
        table = import_config("openai/gpt-4o", source='x\nprofile = "max".json').table

        assert parse(table or "", environ={}).profile == "premium"


WORDS = st.sampled_from(
    [
        *NAMES,
        *INSTEAD,
        *MISPLACED,
        *SPEC_KEYS,
        *(
            "models",
            "model_list",
            "model_name",
            "litellm_params",
            "fallbacks",
            "router_kwargs",
            "num_retries",
        ),
        *(
            "thinking",
            "safety_settings",
            "category",
            "threshold",
            "type",
            "budget_tokens",
            "effort",
            "a",
            "b",
        ),
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | WORDS
    | st.sampled_from(
        ["openai/gpt-4o", "gemini/gemini-3.8-flash", "claude-sonnet-5-5", "https://h/v1", "low", CANARY]
    )
)
ANYTHING = st.recursive(
    SCALARS,
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), below, max_size=4)
    ),
    max_leaves=25,
)
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([0, 0.5, 2]),
        "max_tokens": st.sampled_from([1, 10**6]),
        "reasoning_effort": st.sampled_from(["low", "max"]),
        "logprobs": st.booleans(),
        "thinking": st.just({"type": "disabled"}),
        "safety_settings": st.just([{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]),
    },
)
SPECS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(
            ["openai/gpt-4o", "gpt-6-luna", "gemini/gemini-3.8-flash", "vllm/x", "openai/x"]
        )
    },
    optional={
        "api_base": st.sampled_from(
            ["http://localhost:1/v1", "https://h.example/v1", "https://api.openai.com/v1"]
        ),
        "api_key": st.sampled_from([CANARY, f"{CANARY}-2", "**********", "os.environ/K", "EMPTY", ""]),
        "timeout": st.sampled_from([None, 5, 90.5, 4000]),
        "max_retries": st.integers(0, 12),
        "responses_api": st.booleans(),
        "extra_params": PARAMS,
    },
)
LIKELY = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.lists(SPECS, min_size=1, max_size=4).map(lambda specs: {"models": specs}),
)


class TestAnyInput:
    @given(ANYTHING | LIKELY)
    @example({"models": [{"name": "openai/gpt-4o", "extra_params": {"a": {"b": [CANARY]}}}]})
    def test_every_configuration_becomes_a_table_that_loads_or_a_report(self, value: object) -> None:
        before = deepcopy(value)

        made = import_config(value, source="lmi.json", system="lmi")

        assert repr(value) == repr(before)
        assert CANARY not in str(made)
        assert "our own fault" not in str(made.findings)
        assert (made.table is None) == any(found.kind == "wrong" for found in made.findings)
        if made.table is not None:
            parse(made.table, environ={})
        assert made == import_config(before, source="lmi.json", system="lmi")

    @given(SPECS.map(lambda spec: {"models": [spec]}))
    def test_every_key_of_a_model_is_in_the_table_or_in_the_report(self, config: dict[str, Any]) -> None:
        made = import_config(config, source="lmi.json", system="lmi")
        spoken = " ".join([made.table or "", *map(str, made.findings)])

        params = config["models"][0].get("extra_params", {}) if made.table else ()
        called = NAMES | {"safety_settings": "safety", "thinking": "thinking_budget"}
        assert [key for key in params if called[key] not in spoken and key not in spoken] == []


def test_the_command_line_imports_it_when_it_is_asked_to_and_not_before() -> None:
    program = "import sys, backend.cli; print([name for name in sys.modules if 'config_import' in name or name == 'tomli_w'])"
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert json.loads(done.stdout.replace("'", '"')) == []
