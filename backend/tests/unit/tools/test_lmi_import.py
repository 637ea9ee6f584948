"""LMI's configurations as tables: models, names, addresses and keys. Many of these rules restate LMI's own tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    told,
    wrong,
)
from backend.tools.config_import import import_config
from backend.tools.config_import.advice import INSTEAD
from backend.tools.config_import.vendors import VENDORS, house_key_variable
from backend.utils.llm.model_config import load_table

if TYPE_CHECKING:
    from backend.utils.llm.model_config import Provider


CANARY = "sk-canary-77a1b2c3"


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
        shipped = load_table(environ={}).providers
        imported = snapshot(models(*(f"{vendor}/some-model" for vendor in VENDORS))).providers

        assert {name: _address(shipped[name]) for name in VENDORS} == {
            name: _address(row) for name, row in imported.items()
        }


def _address(provider: Provider) -> tuple[str, str, str | None]:
    return provider.api, provider.base_url, key_variable(provider)


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

        assert key_variable(only(config).provider) == "VLLM_API_KEY"
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

        assert key_variable(only(config).provider) == "OPENAI_API_KEY"
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
        assert {name: key_variable(row) for name, row in snapshot(config).providers.items()} == {
            "openai": "OPENAI_API_KEY",
            "openai-2": "OPENAI_2_API_KEY",
            "openai-3": "OPENAI_3_API_KEY",
        }

    def test_a_named_variable_is_kept(self) -> None:
        assert key_variable(only(models(spec(api_key="os.environ/MY_KEY"))).provider) == "MY_KEY"

    def test_a_variable_that_the_input_names_is_given_to_no_other_key(self) -> None:
        config = models(
            spec("hosted_vllm/a", api_base="https://a.example/v1", api_key="os.environ/OPENAI_API_KEY"),
            spec(api_key=CANARY),
        )

        assert key_variable(snapshot(config).providers["openai"]) == "OPENAI_API_KEY_2"

    def test_a_variable_that_no_row_can_name_is_wrong(self) -> None:
        assert wrong(models(spec(api_key="os.environ/my-key"))) == ["models.0.api_key"]

    def test_a_mask_is_no_key(self) -> None:
        config = models(spec(api_key="**********"))

        assert key_variable(only(config).provider) == house_key_variable("openai")
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
