"""Files of LiteLLM's proxy as tables. Their shapes are those of LiteLLM's documentation: docs.litellm.ai/docs/proxy/configs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backend.tools.config_import import detect_system, import_config
from backend.utils.llm.model_config import parse_table

if TYPE_CHECKING:
    from backend.utils.llm.model_config import TableSnapshot

CANARY = "sk-canary-51b0c2d3"
AZURE = "https://my-endpoint.openai.azure.com"


def entry(name: str, model: str = "openai/gpt-6-luna", *, info: Any = None, **params: Any) -> dict[str, Any]:
    made = {"model_name": name, "litellm_params": {"model": model, **params}}
    return made if info is None else made | {"model_info": info}


def proxy(*entries: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return {"model_list": list(entries), "general_settings": {}, **sections}


def snapshot(config: object) -> TableSnapshot:
    made = import_config(config, source="config.yaml")
    assert made.table is not None, "\n".join(map(str, made.findings))
    return parse_table(made.table, environ={})


def told(config: object, kind: str = "") -> list[str]:
    findings = import_config(config, source="config.yaml").findings
    return [f"{finding.path}: {finding.says}" for finding in findings if finding.kind.startswith(kind)]


def wrong(config: object) -> list[str]:
    made = import_config(config, source="config.yaml")
    assert made.table is None
    return [finding.path for finding in made.findings if finding.kind == "wrong"]


def chain(config: object, feature: str) -> list[str]:
    return [str(endpoint) for endpoint in snapshot(config).chain(feature, "premium")]


def links(config: object, feature: str) -> tuple[str, ...]:
    return snapshot(config).chain(feature, "premium").links


TWO = (entry("fast", "openai/gpt-6-luna"), entry("slow", "anthropic/claude-sonnet-5-5"))


class TestSystem:
    @pytest.mark.parametrize("section", ["litellm_settings", "router_settings", "general_settings"])
    def test_a_section_of_the_proxys_tells_it_from_lmi(self, section: str) -> None:
        assert detect_system({"model_list": [], section: {}}) == "litellm"

    @pytest.mark.parametrize("mark", ["fallbacks", "router_kwargs", "name", "tool_parser"])
    def test_a_key_of_lmis_tells_it_from_the_proxy(self, mark: str) -> None:
        assert detect_system({"model_list": [], mark: {}}) == "lmi"

    def test_a_list_alone_is_the_proxys_with_a_note(self) -> None:
        config = {"model_list": list(TWO)}

        assert set(snapshot(config).features) == {"fast", "slow"}
        assert "--as lmi" in told(config, "guessed")[0]

    def test_it_can_be_told(self) -> None:
        made = import_config({"model_list": list(TWO)}, source="chain.json", system="lmi")

        assert made.table is not None
        assert set(parse_table(made.table, environ={}).features) == {"chain"}


class TestModels:
    def test_each_model_name_is_a_feature(self) -> None:
        assert chain(proxy(*TWO), "fast") == ["openai:gpt-6-luna"]
        assert chain(proxy(*TWO), "slow") == ["anthropic:claude-sonnet-5-5"]

    def test_a_name_that_is_no_feature_becomes_one_with_a_note(self) -> None:
        config = proxy(entry("gpt-3.5-turbo"))

        assert chain(config, "gpt_3_5_turbo")
        assert "'gpt-3.5-turbo' is the feature gpt_3_5_turbo here." in told(config, "changed")[0]

    def test_two_names_that_become_one_feature_are_wrong(self) -> None:
        assert wrong(proxy(entry("a-b"), entry("a.b", "openai/gpt-6.1-sol"))) == ["model_list.1"]

    def test_models_of_one_name_are_chosen_among_in_turn(self) -> None:
        config = proxy(entry("chat"), entry("chat", "groq/llama-4", weight=3))

        assert links(config, "chat") == ("group:chat",)
        assert snapshot(config).chain("chat", "premium").tiers[0].select.by == "weighted"

    @pytest.mark.parametrize(
        ("routing", "by"),
        [
            ("latency-based-routing", "latency"),
            ("least-busy", "least_busy"),
            ("simple-shuffle", "weighted"),
            ("usage-based-routing-v2", "least_used"),
        ],
    )
    def test_the_strategy_is_ours_of_the_same_meaning(self, routing: str, by: str) -> None:
        config = proxy(
            entry("chat"), entry("chat", "groq/llama-4"), router_settings={"routing_strategy": routing}
        )

        assert snapshot(config).chain("chat", "premium").tiers[0].select.by == by

    @pytest.mark.parametrize(
        ("shares", "weights"),
        [
            (({"weight": 9}, {"weight": 1}), (9, 1)),
            (({"weight": 0.7}, {"weight": 0.3}), (70, 30)),
            (({"rpm": 900}, {"rpm": 100}), (900, 100)),
            (({"rpm": 9000}, {"rpm": 1000}), (90, 10)),
            (({"tpm": 10_000}, {"tpm": 30_000}), (25, 75)),
        ],
    )
    def test_weights_are_in_proportion_and_by_limits_where_none_is_said(
        self, shares: tuple[dict[str, Any], ...], weights: tuple[int, int]
    ) -> None:
        config = proxy(entry("chat", **shares[0]), entry("chat", "groq/llama-4", **shares[1]))
        select = snapshot(config).chain("chat", "premium").tiers[0].select

        assert tuple(getattr(select, "weights", {}).values()) == weights

    def test_a_model_of_weight_0_is_never_asked(self) -> None:
        config = proxy(entry("chat", weight=1), entry("chat", "groq/llama-4", weight=0))

        assert chain(config, "chat") == ["openai:gpt-6-luna"]

    def test_a_weight_that_nothing_goes_by_is_told(self) -> None:
        config = proxy(
            entry("chat", weight=9),
            entry("chat", "groq/llama-4"),
            router_settings={"routing_strategy": "least-busy"},
        )

        assert "model_list.0: has a weight, and is not chosen by weights." in told(config, "dropped")

    def test_an_order_is_kept(self) -> None:
        config = proxy(entry("chat", order=2), entry("chat", "groq/llama-4", order=1))

        assert chain(config, "chat") == ["groq:llama-4", "openai:gpt-6-luna"]

    def test_limits_stand_with_the_endpoint(self) -> None:
        limits = next(
            iter(snapshot(proxy(entry("a", rpm=6, tpm=900, max_parallel_requests=2))).chain("a", "premium"))
        ).limits

        assert [rate.amount for rate in (*limits.requests, *limits.tokens)] == [6, 900]
        assert limits.concurrency == 2

    def test_a_price_stands_with_the_endpoint(self) -> None:
        info = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2.5e-6}
        (endpoint,) = snapshot(proxy(entry("a", info=info))).chain("a", "premium")

        assert endpoint.price is not None
        assert (float(endpoint.price.input), float(endpoint.price.output)) == (1.0, 2.5)

    def test_a_stream_timeout_is_the_time_to_its_first_chunk(self) -> None:
        row = snapshot(proxy(entry("a", stream_timeout=7, timeout=20))).features["a"]

        assert (row.options.first_chunk_timeout, row.options.timeout) == (7, 20)

    def test_responses_are_asked_for_by_the_mode_or_the_name(self) -> None:
        for made in (entry("a", info={"mode": "responses"}), entry("a", "openai/responses/gpt-6-luna")):
            (endpoint,) = snapshot(proxy(made)).chain("a", "premium")
            assert (endpoint.api_mode, endpoint.model) == ("responses", "gpt-6-luna")

    def test_a_credential_is_looked_up_by_its_name(self) -> None:
        named = [{"credential_name": "mine", "credential_values": {"api_key": "os.environ/MY_KEY"}}]
        config = proxy(entry("a", litellm_credential_name="mine"), credential_list=named)

        assert snapshot(config).providers["openai"].api_key_envs == ("MY_KEY",)

    def test_a_file_without_models_is_wrong(self) -> None:
        assert wrong({"general_settings": {}}) == [""]


class TestSettings:
    def test_the_routers_section_goes_over_the_librarys(self) -> None:
        row = snapshot(
            proxy(
                entry("a"),
                litellm_settings={"num_retries": 5, "request_timeout": 10},
                router_settings={"num_retries": 1, "timeout": 30},
            )
        ).features["a"]

        assert (row.attempts, row.options.timeout) == (2, 30)

    @pytest.mark.parametrize(
        ("earlier", "later"),
        [
            ({"num_retries": 5}, {"num_retries": 0}),
            ({"request_timeout": 10}, {"timeout": 30}),
            ({"routing_strategy": "least-busy"}, {"routing_strategy": "simple-shuffle"}),
        ],
    )
    def test_a_setting_that_the_routers_section_replaces_is_told(
        self, earlier: dict[str, Any], later: dict[str, Any]
    ) -> None:
        lines = told(proxy(entry("a"), litellm_settings=earlier, router_settings=later), "dropped")

        says = f"is not used: another section has {next(iter(later))}, too, which holds."
        assert [line for line in lines if "another section" in line] == [
            f"litellm_settings.{next(iter(earlier))}: {says}"
        ]

    def test_a_models_own_settings_go_over_both(self) -> None:
        row = snapshot(
            proxy(entry("a", num_retries=0, timeout=5), router_settings={"num_retries": 3, "timeout": 30})
        ).features["a"]

        assert (row.attempts, row.options.timeout) == (1, 5)

    def test_three_requests_are_sent_where_nothing_is_said_as_litellm_does(self) -> None:
        assert snapshot(proxy(entry("a"))).features["a"].attempts == 3

    @pytest.mark.parametrize(
        "key",
        ["master_key", "database_url", "alerting", "cache", "success_callback", "new_setting_of_tomorrow"],
    )
    def test_what_no_table_holds_is_told_wherever_it_stands(self, key: str) -> None:
        for config in (
            proxy(entry("a"), litellm_settings={key: CANARY}),
            proxy(entry("a"), router_settings={key: CANARY}),
            proxy(entry("a")) | {key: CANARY},
        ):
            assert any(
                path.startswith(("litellm_settings", "router_settings", key))
                for path in told(config, "dropped")
            )
            assert CANARY not in str(told(config))

    def test_other_files_are_wrong_rather_than_forgotten(self) -> None:
        assert wrong(proxy(entry("a"), include=["more.yaml"])) == ["include"]


class TestFallbacks:
    def test_they_follow(self) -> None:
        config = proxy(*TWO, router_settings={"fallbacks": [{"fast": ["slow"]}]})

        assert chain(config, "fast") == ["openai:gpt-6-luna", "anthropic:claude-sonnet-5-5"]
        assert chain(config, "slow") == ["anthropic:claude-sonnet-5-5"]

    def test_the_fallbacks_of_a_fallback_follow_and_none_comes_twice(self) -> None:
        models = (*TWO, entry("last", "gemini/gemini-3.5-flash"))
        config = proxy(
            *models, litellm_settings={"fallbacks": [{"fast": ["slow"]}, {"slow": ["last", "fast"]}]}
        )

        assert [name.partition(":")[0] for name in chain(config, "fast")] == ["openai", "anthropic", "gemini"]

    def test_a_group_follows_as_a_group(self) -> None:
        config = proxy(
            *TWO, entry("slow", "groq/llama-4"), router_settings={"fallbacks": [{"fast": ["slow"]}]}
        )

        assert links(config, "fast") == ("openai:gpt-6-luna", "group:slow")

    @pytest.mark.parametrize("said", [{"default_fallbacks": ["slow"]}, {"fallbacks": [{"*": ["slow"]}]}])
    def test_those_of_every_model_stand_behind_each_but_themselves(self, said: dict[str, Any]) -> None:
        config = proxy(*TWO, router_settings=said)

        assert chain(config, "fast")[1:] == ["anthropic:claude-sonnet-5-5"]
        assert len(chain(config, "slow")) == 1

    @pytest.mark.parametrize("key", ["context_window_fallbacks", "content_policy_fallbacks"])
    def test_those_of_one_failure_follow_with_a_note(self, key: str) -> None:
        config = proxy(*TWO, router_settings={key: [{"fast": ["slow"]}]})

        assert len(chain(config, "fast")) == 2
        assert "asked after other failures, too" in "".join(told(config, "changed"))

    def test_refusals_go_on_only_where_the_file_says_so(self) -> None:
        policy = proxy(*TWO, router_settings={"content_policy_fallbacks": [{"fast": ["slow"]}]})
        plain = proxy(*TWO, router_settings={"fallbacks": [{"fast": ["slow"]}]})

        assert snapshot(policy).features["fast"].on_refusal == "next"
        assert snapshot(plain).features["fast"].on_refusal == "raise"

    def test_a_name_that_is_none_is_wrong(self) -> None:
        assert wrong(proxy(*TWO, router_settings={"fallbacks": [{"fast": ["slwo"]}]})) == [
            "router_settings.fallbacks.0.fast.0"
        ]

    @pytest.mark.parametrize("said", ["slow", {"model": "slow", "hidden": True}])
    def test_an_alias_is_a_feature_with_the_chain_that_it_stands_for(self, said: object) -> None:
        config = proxy(
            *TWO,
            router_settings={"model_group_alias": {"gpt-4": said}, "fallbacks": [{"fast": ["gpt-4"]}]},
        )

        assert chain(config, "gpt_4") == chain(config, "slow")
        assert chain(config, "fast")[1:] == chain(config, "slow")

    def test_an_alias_goes_before_models_of_its_name(self) -> None:
        config = proxy(*TWO, router_settings={"model_group_alias": {"fast": "slow"}})

        assert chain(config, "fast") == chain(config, "slow")
        assert "goes before the models named 'fast', which are not asked" in "".join(told(config, "changed"))

    @pytest.mark.parametrize(
        ("aliases", "providers"),
        [("model_group_alias", ["anthropic", "gemini"]), ("model_alias_map", ["anthropic"])],
    )
    def test_fallbacks_are_those_of_the_name_that_is_asked(self, aliases: str, providers: list[str]) -> None:
        config = proxy(
            *TWO,
            entry("last", "gemini/gemini-3.5-flash"),
            router_settings={"fallbacks": [{"short": ["last"]}, {"fast": ["short"]}]},
            litellm_settings={aliases: {"short": "slow"}},
        )

        assert [name.partition(":")[0] for name in chain(config, "short")] == providers
        assert [name.partition(":")[0] for name in chain(config, "fast")] == ["openai", *providers]
        unused = [one for one in told(config, "dropped") if "before fallbacks are looked up" in one]
        assert bool(unused) == (aliases == "model_alias_map")

    @pytest.mark.parametrize(("aliases", "length"), [("model_group_alias", 1), ("model_alias_map", 2)])
    def test_an_alias_gets_the_fallbacks_of_its_model_only_where_it_is_replaced(
        self, aliases: str, length: int
    ) -> None:
        policy = {"content_policy_fallbacks": [{"fast": ["slow"]}]}
        config = proxy(*TWO, router_settings=policy, litellm_settings={aliases: {"short": "fast"}})

        assert len(chain(config, "short")) == length
        assert snapshot(config).features["short"].on_refusal == ("raise" if length == 1 else "next")

    def test_an_alias_that_falls_back_on_its_own_model_asks_it_once(self) -> None:
        config = proxy(
            *TWO,
            router_settings={
                "model_group_alias": {"short": "fast"},
                "fallbacks": [{"short": ["fast"]}, {"fast": ["slow"]}],
            },
        )

        assert chain(config, "short") == ["openai:gpt-6-luna", "anthropic:claude-sonnet-5-5"]

    @pytest.mark.parametrize("key", ["fallbacks", "context_window_fallbacks", "default_fallbacks"])
    def test_the_routers_fallbacks_hold_in_place_of_the_librarys(self, key: str) -> None:
        first = ["slow"] if key == "default_fallbacks" else [{"fast": ["slow"]}, {"last": ["slow"]}]
        second = ["last"] if key == "default_fallbacks" else [{"fast": ["last"]}]
        config = proxy(
            *TWO,
            entry("last", "openai/gpt-6.1-sol"),
            litellm_settings={key: first},
            router_settings={key: second},
        )

        assert chain(config, "fast") == ["openai:gpt-6-luna", "openai:gpt-6.1-sol"]
        assert chain(config, "last") == ["openai:gpt-6.1-sol"]
        assert [one for one in told(config, "dropped") if one.startswith(f"litellm_settings.{key}")]

    @pytest.mark.parametrize("empty", [[], None])
    @pytest.mark.parametrize("key", ["fallbacks", "content_policy_fallbacks", "default_fallbacks"])
    def test_an_empty_list_of_the_routers_leaves_the_librarys(self, key: str, empty: object) -> None:
        follow = ["slow"] if key == "default_fallbacks" else [{"fast": ["slow"]}]
        config = proxy(*TWO, litellm_settings={key: follow}, router_settings={key: empty})

        assert chain(config, "fast") == ["openai:gpt-6-luna", "anthropic:claude-sonnet-5-5"]
        assert not [one for one in told(config, "dropped") if key in one]

    @pytest.mark.parametrize("key", ["model_group_alias", "model_alias_map"])
    def test_an_alias_of_an_alias_is_wrong_rather_than_left_out(self, key: str) -> None:
        config = proxy(*TWO, router_settings={key: {"first": "second", "second": "fast", "third": "first"}})

        assert wrong(config) == [f"router_settings.{key}.first", f"router_settings.{key}.third"]

    def test_an_alias_may_have_the_name_of_models_that_another_stands_for(self) -> None:
        config = proxy(*TWO, router_settings={"model_group_alias": {"fast": "slow", "short": "fast"}})

        assert chain(config, "short") == ["openai:gpt-6-luna"]

    def test_a_name_in_the_model_alias_map_may_stand_for_an_alias_of_a_group(self) -> None:
        config = proxy(
            *TWO,
            litellm_settings={"model_alias_map": {"short": "quick"}},
            router_settings={"model_group_alias": {"quick": "fast"}, "fallbacks": [{"quick": ["slow"]}]},
        )

        assert chain(config, "short") == ["openai:gpt-6-luna", "anthropic:claude-sonnet-5-5"]

    def test_an_alias_of_nothing_is_wrong(self) -> None:
        assert wrong(proxy(*TWO, router_settings={"model_group_alias": {"gpt-4": "nope"}})) == [
            "router_settings.model_group_alias.gpt-4"
        ]


def test_retries_that_are_no_number_leave_the_usual_ones() -> None:
    made = import_config(
        proxy(entry("a"), router_settings={"num_retries": "3"}), source="config.yaml", skip_invalid=True
    )

    assert [finding.path for finding in made.findings if finding.kind == "wrong"] == [
        "router_settings.num_retries"
    ]
    assert made.table is not None
    assert parse_table(made.table, environ={}).features["a"].attempts == 3


class TestClouds:
    @pytest.mark.parametrize(
        "address",
        [AZURE, f"{AZURE}/", f"{AZURE}/openai/deployments/d/chat/completions", f"{AZURE}/openai/v1"],
    )
    def test_azures_resource_is_asked_by_the_api_without_versions(self, address: str) -> None:
        config = proxy(entry("a", "azure/d", api_base=address, api_version="2024-10-21"))

        assert snapshot(config).providers["azure"].base_url == f"{AZURE}/openai/v1"
        assert chain(config, "a") == ["azure:d"]

    def test_a_second_resource_is_named_after_itself(self) -> None:
        config = proxy(
            entry("a", "azure/d", api_base="https://eu.openai.azure.com"),
            entry("a", "azure/d", api_base="https://us.openai.azure.com"),
        )

        assert chain(config, "a") == ["azure:d", "azure-us:d"]

    def test_a_gateway_in_front_of_azure_is_wrong_unless_it_speaks_the_api_without_versions(self) -> None:
        assert wrong(proxy(entry("a", "azure/d", api_base="https://gateway.example.com"))) == [
            "model_list.0.litellm_params.api_base"
        ]
        assert chain(proxy(entry("a", "azure/d", api_base="https://gateway.example.com/openai/v1")), "a")

    @pytest.mark.parametrize("key", ["azure_ad_token", "client_secret", "tenant_id"])
    def test_tokens_of_entra_are_wrong(self, key: str) -> None:
        config = proxy(entry("a", "azure/d", api_base=AZURE, **{key: CANARY}))

        assert wrong(config) == [f"model_list.0.litellm_params.{key}"]
        assert CANARY not in str(told(config))

    def test_claude_in_azures_foundry_is_asked_by_its_own_api(self) -> None:
        config = proxy(entry("a", "azure_ai/claude-sonnet-5-5", api_base="https://r.services.ai.azure.com"))
        provider = snapshot(config).providers["azure_ai"]

        assert (provider.api, provider.base_url) == ("anthropic", "https://r.services.ai.azure.com/anthropic")

    def test_the_model_behind_a_deployment_tells_what_it_can_and_costs(self) -> None:
        config = proxy(entry("a", "azure/d", api_base=AZURE, info={"base_model": "azure/gpt-6-luna"}))
        (endpoint,) = snapshot(config).chain("a", "premium")

        assert endpoint.billed_as is not None
        assert endpoint.can.context_window == 1_050_000

    @pytest.mark.parametrize(
        ("model", "params"),
        [
            ("bedrock/anthropic.claude-v2", {}),
            ("bedrock/anthropic.claude-v2", {"api_base": "https://bedrock-runtime.us-west-2.amazonaws.com"}),
            ("sagemaker/jumpstart", {}),
            ("vertex_ai/gemini-3.5-flash", {"vertex_project": "p"}),
            ("vertex_ai/claude-sonnet-5-5", {}),
            (
                "vertex_ai/gemini-3.5-flash",
                {"api_base": "https://us-central1-aiplatform.googleapis.com/v1/projects/p"},
            ),
            ("text-completion-openai/gpt-3.5-turbo-instruct", {}),
            ("cohere_chat/command-r", {}),
            ("made_up/model", {"api_base": "http://127.0.0.1:9"}),
            ("openai/*", {}),
            ("openai/${MODEL}", {}),
            ("openai/{{ model }}", {}),
            ("openai/{{model}}", {}),
            ("openai/<your-model>", {}),
            ("*", {}),
            ("azure/d", {}),
            ("azure/d", {"api_base": "os.environ/AZURE_API_BASE"}),
            ("openai/dall-e-3", {}),
            ("openai/whisper-1", {}),
        ],
    )
    def test_what_cannot_be_served_is_wrong_with_a_sentence_and_never_guessed(
        self, model: str, params: dict[str, str]
    ) -> None:
        config = proxy(entry("a", model, **params))

        assert wrong(config)
        assert told(config, "guessed") == []
        assert all(len(line.partition(": ")[2].split()) > 4 for line in told(config, "wrong"))

    def test_claude_on_vertex_is_not_sent_to_gemini(self) -> None:
        (sentence,) = told(proxy(entry("a", "vertex_ai/claude-sonnet-5-5")), "wrong")

        assert "anthropic/MODEL" in sentence
        assert "gemini/" not in sentence

    @pytest.mark.parametrize(
        ("model", "written", "asked"),
        [
            ("ollama_chat/llama3.1", "http://localhost:11434", "http://localhost:11434/v1"),
            ("huggingface/HuggingFaceH4/zephyr-7b-beta", "http://127.0.0.1:8001", "http://127.0.0.1:8001/v1"),
            ("hosted_vllm/qwen3", "http://127.0.0.1:8001/v1", "http://127.0.0.1:8001/v1"),
            ("hosted_vllm/qwen3", "http://127.0.0.1:8001", "http://127.0.0.1:8001/v1"),
            ("vllm/qwen3", "http://127.0.0.1:8001/", "http://127.0.0.1:8001/v1"),
            ("lm_studio/qwen3", "http://127.0.0.1:1234", "http://127.0.0.1:1234/v1"),
            ("hosted_vllm/qwen3", "http://127.0.0.1:8001/qwen", "http://127.0.0.1:8001/qwen"),
        ],
    )
    def test_a_server_is_asked_where_it_speaks_openais_protocol(
        self, model: str, written: str, asked: str
    ) -> None:
        (endpoint,) = snapshot(proxy(entry("a", model, api_base=written))).chain("a", "premium")

        assert endpoint.provider.base_url == asked

    @pytest.mark.parametrize("filler", ["fake-key", "sk-1234", "ollama"])
    def test_a_word_in_place_of_a_key_is_no_key(self, filler: str) -> None:
        config = proxy(entry("a", "openai/qwen3", api_base="http://10.0.0.7:4000/v1", api_key=filler))

        assert snapshot(config).chain("a", "premium").tiers[0].endpoints[0].provider.access == "open"

    def test_ollama_needs_neither_an_address_nor_a_key(self) -> None:
        (endpoint,) = snapshot(proxy(entry("a", "ollama/llama3.1"))).chain("a", "premium")

        assert (endpoint.provider.base_url, endpoint.provider.access) == ("http://localhost:11434/v1", "open")


class TestEmbeddings:
    @pytest.mark.parametrize("info", [None, {"mode": "embedding"}])
    def test_a_model_for_vectors_is_a_feature_of_embeddings(self, info: object) -> None:
        row = snapshot(proxy(entry("memories", "openai/text-embedding-3-small", info=info))).features[
            "memories"
        ]

        assert row.embedding is not None
        assert row.embedding.model == "text-embedding-3-small"

    def test_only_what_gives_the_same_vectors_follows(self) -> None:
        config = proxy(
            entry("memories", "openai/text-embedding-3-small"),
            entry("memories", "openai/text-embedding-3-large"),
        )

        assert wrong(config) == ["model_list.1"]

    def test_chats_do_not_follow_on_vectors(self) -> None:
        config = proxy(
            *TWO,
            entry("memories", "openai/text-embedding-3-small"),
            router_settings={"default_fallbacks": ["slow"]},
        )

        assert chain(config, "memories") == ["openai:text-embedding-3-small"]

    @pytest.mark.parametrize(
        "mode", ["image_generation", "audio_transcription", "rerank", "completion", "realtime"]
    )
    def test_a_model_for_anything_else_is_wrong(self, mode: str) -> None:
        assert wrong(proxy(entry("a", "openai/some-model", info={"mode": mode})))


class TestSecrets:
    @pytest.mark.parametrize(
        "config",
        [
            proxy(entry("a", api_key=CANARY)),
            proxy(entry("a", extra_headers={"Authorization": f"Bearer {CANARY}"})),
            proxy(entry("a", CANARY)),
            proxy(entry(CANARY)),
            proxy(entry("a"), environment_variables={"OPENAI_API_KEY": CANARY}),
            proxy(
                entry("a"),
                general_settings={"master_key": CANARY, "database_url": f"postgres://u:{CANARY}@h"},
            ),
            proxy(
                entry("a"),
                credential_list=[{"credential_name": "x", "credential_values": {"api_key": CANARY}}],
            ),
            proxy(entry("a", litellm_credential_name=CANARY)),
            proxy(entry("a"), router_settings={"fallbacks": [{"a": [CANARY]}], "redis_password": CANARY}),
        ],
    )
    def test_no_key_gets_into_the_table_or_the_report(self, config: object) -> None:
        made = import_config(config, source="config.yaml", skip_invalid=True)

        assert CANARY not in f"{made.table} {made.findings}"


class TestPartly:
    def test_what_is_wrong_is_left_out_and_told(self) -> None:
        config = proxy(entry("a", "bedrock/x"), entry("b"), entry("b", "bedrock/y"))
        made = import_config(config, source="config.yaml", skip_invalid=True)

        assert made.table is not None
        assert set(parse_table(made.table, environ={}).features) == {"b"}
        assert sum(finding.kind == "wrong" for finding in made.findings) == 2

    def test_there_is_no_table_of_nothing(self) -> None:
        assert import_config(proxy(entry("a", "bedrock/x")), source="c.yaml", skip_invalid=True).table is None


_WORDS = st.sampled_from(
    ["a", "b", "openai/gpt-6-luna", "azure/d", "*", "os.environ/X", "", AZURE, "bedrock/x"]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2000) | st.floats() | _WORDS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_WORDS, below, max_size=3),
    max_leaves=6,
)
_PARAMS = st.sampled_from(
    ["model", "api_base", "api_key", "rpm", "timeout", "weight", "order", "temperature", "azure_ad_token"]
)
_SETTINGS = st.sampled_from(
    [
        "fallbacks",
        "model_group_alias",
        "num_retries",
        "timeout",
        "routing_strategy",
        "default_fallbacks",
        "cache",
    ]
)
_ENTRY = st.fixed_dictionaries(
    {"model_name": _WORDS, "litellm_params": st.dictionaries(_PARAMS, _VALUES, max_size=4)},
    optional={
        "model_info": st.dictionaries(st.sampled_from(["mode", "base_model", "id"]), _VALUES, max_size=2)
    },
)


@given(
    config=st.fixed_dictionaries(
        {"model_list": st.lists(_ENTRY | _VALUES, max_size=3)},
        optional={
            "router_settings": st.dictionaries(_SETTINGS, _VALUES, max_size=3),
            "general_settings": _VALUES,
        },
    ),
)
@example(config={"model_list": [{"model_name": "", "litellm_params": {}}]})
@pytest.mark.parametrize("partly", [True, False])
def test_whatever_stands_in_the_file_there_is_a_table_that_loads_or_a_report(
    config: object, *, partly: bool
) -> None:
    made = import_config(config, source="config.yaml", system="litellm", skip_invalid=partly)

    assert "our own fault" not in str(made.findings)
    assert made.table is not None or made.findings
    if made.table is not None:
        parse_table(made.table, environ={})
