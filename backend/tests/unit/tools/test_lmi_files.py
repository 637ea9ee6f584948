"""Files that hold LMI's configurations, and whatever else they may hold."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backend.tools.config_import import UnusableInputError, import_config, import_file
from backend.tools.config_import.advice import INSTEAD, MISPLACED, NAMES
from backend.tools.config_import.specs import SPEC_KEYS
from backend.utils.llm.model_config import parse_table

CANARY = "sk-canary-77a1b2c3"
ROOT = Path(__file__).parents[4]


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

        assert parse_table(table or "", environ={}).profile == "premium"


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
            parse_table(made.table, environ={})
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
