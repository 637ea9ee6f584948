"""Files of TensorZero's gateway as tables. Their shapes are those of its configuration reference."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.tools.config_import import detect_system, import_config
from backend.utils.llm.model_config import parse_table

if TYPE_CHECKING:
    from backend.utils.llm.model_config import TableSnapshot

CANARY = "sk-canary-90d1e2f3"
TWO = """
[functions.extract]
type = "chat"
[functions.extract.variants.a]
type = "chat_completion"
model = "openai::gpt-6-luna"
[functions.extract.variants.b]
type = "chat_completion"
model = "anthropic::claude-sonnet-5-5"
"""
ROUTED = """
[models.luna]
routing = ["openai", "azure"]
[models.luna.providers.openai]
type = "openai"
model_name = "gpt-6-luna"
[models.luna.providers.azure]
type = "azure"
deployment_id = "my-luna"
endpoint = "https://r.openai.azure.com"
"""
USES = '[functions.extract.variants.a]\ntype = "chat_completion"\nmodel = "luna"\n'


def snapshot(text: str) -> TableSnapshot:
    made = import_config(tomllib.loads(text), source="tensorzero.toml")
    assert made.table is not None, "\n".join(map(str, made.findings))
    return parse_table(made.table, environ={})


def told(text: str, kind: str = "") -> list[str]:
    findings = import_config(tomllib.loads(text), source="tensorzero.toml").findings
    return [f"{finding.path}: {finding.says}" for finding in findings if finding.kind.startswith(kind)]


def chain(text: str, feature: str = "extract") -> list[str]:
    return [str(endpoint) for endpoint in snapshot(text).chain(feature, "premium")]


def weights(text: str) -> object:
    return getattr(snapshot(text).chain("extract", "premium").tiers[0].select, "weights", None)


@pytest.mark.parametrize("text", [TWO, ROUTED, TWO + ROUTED])
def test_its_files_are_known_by_their_keys(text: str) -> None:
    assert detect_system(tomllib.loads(text)) == "tensorzero"


def test_each_function_is_a_feature_and_its_variants_are_chosen_among() -> None:
    assert chain(TWO) == ["openai:gpt-6-luna", "anthropic:claude-sonnet-5-5"]
    assert weights(TWO) == {"openai:gpt-6-luna": 1, "anthropic:claude-sonnet-5-5": 1}


def test_weights_are_kept_in_proportion() -> None:
    text = TWO.replace('gpt-6-luna"', 'gpt-6-luna"\nweight = 0.9').replace('5-5"', '5-5"\nweight = 0.1')

    assert weights(text) == {"openai:gpt-6-luna": 90, "anthropic:claude-sonnet-5-5": 10}


def test_a_variant_without_a_weight_beside_others_is_a_fallback() -> None:
    text = TWO.replace('gpt-6-luna"', 'gpt-6-luna"\nweight = 1')

    assert snapshot(text).chain("extract", "premium").links == (
        "openai:gpt-6-luna",
        "anthropic:claude-sonnet-5-5",
    )


def test_a_variant_of_weight_0_is_never_asked() -> None:
    text = TWO.replace('gpt-6-luna"', 'gpt-6-luna"\nweight = 1').replace('5-5"', '5-5"\nweight = 0')

    assert chain(text) == ["openai:gpt-6-luna"]


def test_an_experiment_names_who_is_chosen_and_who_follows() -> None:
    text = f"""{TWO}
[functions.extract.experimentation]
type = "static_weights"
candidate_variants = {{ b = 1.0 }}
fallback_variants = ["a"]
"""
    assert chain(text) == ["anthropic:claude-sonnet-5-5", "openai:gpt-6-luna"]


def test_the_providers_of_a_model_follow_one_another() -> None:
    assert chain(ROUTED + USES) == ["openai:gpt-6-luna", "azure:my-luna"]
    assert snapshot(ROUTED + USES).providers["azure"].base_url == "https://r.openai.azure.com/openai/v1"


def test_a_model_that_no_function_uses_is_a_feature() -> None:
    assert set(snapshot(ROUTED).features) == {"luna"}
    assert set(snapshot(ROUTED + USES).features) == {"extract"}


def test_a_model_for_vectors_is_a_feature_of_embeddings() -> None:
    text = """
[embedding_models.vectors]
routing = ["openai"]
[embedding_models.vectors.providers.openai]
type = "openai"
model_name = "nomic-embed-text"
api_base = "http://127.0.0.1:11434/v1"
api_key_location = "none"
"""
    row = snapshot(TWO + text).features["vectors"].embedding

    assert row is not None
    assert row.model == "nomic-embed-text"


def test_what_a_function_asks_for_is_what_its_row_says() -> None:
    row = snapshot(TWO.replace('"chat"', '"json"\ntools = ["search"]')).features["extract"]

    assert (row.structured_output, row.tools) == (True, True)


def test_settings_of_a_variant_are_ours_of_the_same_meaning() -> None:
    text = f"""{ROUTED}{USES}max_tokens = 900
retries = {{ num_retries = 2, max_delay_s = 10 }}
timeouts = {{ non_streaming.total_ms = 15000, streaming.ttft_ms = 3000 }}
"""
    row = snapshot(text).features["extract"]

    assert (row.options.max_output_tokens, row.attempts) == (900, 3)
    assert (row.options.timeout, row.options.first_chunk_timeout) == (15, 3)


def test_one_request_is_sent_where_nothing_is_said_as_tensorzero_does() -> None:
    assert snapshot(TWO).features["extract"].attempts == 1


@pytest.mark.parametrize(
    ("location", "variables"),
    [
        ('"env::MY_KEY"', ("MY_KEY",)),
        ('"dynamic::mine"', ("OPENAI_API_KEY",)),
        ('{ default = "env::A_KEY" }', ("A_KEY",)),
    ],
)
def test_a_key_stands_where_the_file_says(location: str, variables: tuple[str, ...]) -> None:
    text = ROUTED.replace('"gpt-6-luna"', f'"gpt-6-luna"\napi_key_location = {location}')

    assert snapshot(text).providers["openai"].api_key_envs == variables


@pytest.mark.parametrize(
    "provider",
    [
        'type = "aws_bedrock"\nmodel_id = "anthropic.claude-3"\nregion = "us-east-1"',
        'type = "aws_sagemaker"\nendpoint_name = "x"\nmodel_name = "x"',
        'type = "gcp_vertex_gemini"\nmodel_id = "gemini-3.5-flash"\nlocation = "us-central1"',
        'type = "gcp_vertex_anthropic"\nmodel_id = "claude-sonnet-5-5"',
        'type = "dummy"\nmodel_name = "good"',
    ],
)
def test_what_cannot_be_served_is_wrong_and_never_guessed(provider: str) -> None:
    text = f'[models.m]\nrouting = ["p"]\n[models.m.providers.p]\n{provider}\n'

    assert import_config(tomllib.loads(text), source="t.toml").table is None
    assert told(text, "wrong")
    assert told(text, "guessed") == []


def test_a_variant_of_several_calls_is_wrong() -> None:
    text = TWO.replace(
        '"chat_completion"\nmodel = "openai', '"experimental_best_of_n_sampling"\nmodel = "openai'
    )

    assert "one call is made here" in told(text, "wrong")[0]


def test_a_model_that_is_none_is_wrong() -> None:
    assert "Did you mean 'luna'" in told(ROUTED + USES.replace('"luna"', '"lunna"'), "wrong")[0]


def test_everything_else_is_told() -> None:
    text = f"""{TWO}
system_template = "a.minijinja"
[gateway]
debug = true
[metrics.m]
type = "boolean"
[tools.search]
description = "{CANARY}"
"""
    paths = {line.partition(": ")[0] for line in told(text, "dropped")}

    assert paths == {"functions.extract.variants.b.system_template", "gateway", "metrics", "tools"}
    assert CANARY not in str(told(text))


_WORDS = st.sampled_from(
    ["a", "m", "openai::gpt-6-luna", "anthropic::x", "azure", "chat_completion", "env::X", "none", ""]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2000) | st.floats() | _WORDS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_WORDS, below, max_size=3),
    max_leaves=6,
)
_VARIANT = st.dictionaries(
    st.sampled_from(["type", "model", "weight", "temperature", "retries", "timeouts", "json_mode"]),
    _VALUES,
    max_size=4,
)
_FUNCTION = st.fixed_dictionaries(
    {"variants": st.dictionaries(_WORDS, _VARIANT | _VALUES, max_size=3)},
    optional={
        "type": _VALUES,
        "experimentation": st.dictionaries(
            st.sampled_from(["type", "candidate_variants", "fallback_variants"]), _VALUES, max_size=3
        ),
    },
)
_PROVIDER = st.dictionaries(
    st.sampled_from(["type", "model_name", "api_base", "endpoint", "api_key_location", "deployment_id"]),
    _VALUES,
    max_size=4,
)
_MODEL = st.fixed_dictionaries(
    {"routing": st.lists(_WORDS, max_size=2) | _VALUES},
    optional={"providers": st.dictionaries(_WORDS, _PROVIDER)},
)


@given(
    config=st.fixed_dictionaries(
        {"functions": st.dictionaries(_WORDS, _FUNCTION | _VALUES, max_size=2)},
        optional={"models": st.dictionaries(_WORDS, _MODEL | _VALUES, max_size=2), "gateway": _VALUES},
    )
)
@pytest.mark.parametrize("partly", [True, False])
def test_whatever_stands_in_the_file_there_is_a_table_that_loads_or_a_report(
    config: object, *, partly: bool
) -> None:
    made = import_config(config, source="t.toml", system="tensorzero", skip_invalid=partly)

    assert "our own fault" not in str(made.findings)
    assert made.table is not None or made.findings
    if made.table is not None:
        parse_table(made.table, environ={})
