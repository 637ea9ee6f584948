"""The table: layers, resolution, and every problem at once."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.utils.llm.errors import ConfigError, UnknownFeatureError
from backend.utils.llm.model_config import Table, get_route_options, load_table, parse_table
from backend.utils.llm.models import find_retirement

from .tables import PROVIDERS

if TYPE_CHECKING:
    from pathlib import Path

    from backend.utils.llm.model_config import TableSnapshot

SMALL = f"""
{PROVIDERS}
[profiles.premium]
greet = "openai:gpt-6-luna"
part = ["gemini:gemini-3.5-flash-lite", "openai:gpt-6-luna"]

[profiles.byok]
extends = "premium"
part = "openai:gpt-6.1-sol"
"""
PROVIDER_X = '[providers.x]\napi = "openai"\napi_key_env = "X_KEY"'
WRITTEN_ON = date(2026, 11, 21)


def problems(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_table(text, environ=environ)
    return list(caught.value.problems)


def endpoints(snapshot: TableSnapshot, feature: str, profile: str) -> list[str]:
    return [str(endpoint) for endpoint in snapshot.chain(feature, profile)]


class TestShippedTable:
    """``llm.toml`` as it is in the repository."""

    @pytest.fixture
    def shipped(self) -> TableSnapshot:
        return load_table(environ={})

    def test_it_has_the_ancestors_36_features(self, shipped: TableSnapshot) -> None:
        assert len(shipped.features) >= 36  # a product feature is a row more, and no change of this test
        assert {"conv_action_items", "fair_use", "chat_agent", "web_search"} <= set(shipped.features)

    def test_it_has_three_profiles_and_byok_is_as_good_as_max(self, shipped: TableSnapshot) -> None:
        assert set(shipped.chains) == {"premium", "max", "byok"}
        for feature in shipped.features:
            assert endpoints(shipped, feature, "byok") == endpoints(shipped, feature, "max")

    def test_no_model_retires_within_90_days_of_its_writing(self, shipped: TableSnapshot) -> None:
        models = {
            endpoint.model
            for served in shipped.chains.values()
            for chain in served.values()
            for endpoint in chain
        }

        gone = {model: found.day for model in models if (found := find_retirement(model))}

        assert [model for model, day in gone.items() if day <= WRITTEN_ON + timedelta(days=90)] == []

    @pytest.mark.parametrize("provider", ["openai", "gemini", "anthropic", "openrouter"])
    def test_one_key_of_a_big_provider_serves_nearly_everything(
        self, shipped: TableSnapshot, provider: str
    ) -> None:
        unserved = {
            feature
            for feature in shipped.features
            if provider not in {endpoint.provider.name for endpoint in shipped.chain(feature, "byok")}
        }

        assert unserved <= {"fair_use", "web_search", "wrapped_analysis"}

    def test_the_demo_serves_only_while_no_house_key_is_set(self, shipped: TableSnapshot) -> None:
        keyed = load_table(environ={"GEMINI_API_KEY": "k"})

        assert shipped.demo_active
        assert not keyed.demo_active


class TestLayers:
    """Shipped defaults < file < environment."""

    def test_a_profile_starts_from_the_one_it_extends(self) -> None:
        snapshot = parse_table(SMALL, environ={})

        assert endpoints(snapshot, "greet", "byok") == ["openai:gpt-6-luna"]
        assert snapshot.chain("greet", "byok").layer == "text, profile premium"
        assert endpoints(snapshot, "part", "byok") == ["openai:gpt-6.1-sol"]

    def test_model_qos_chooses_the_houses_profile(self) -> None:
        assert parse_table(SMALL, environ={"MODEL_QOS": " BYOK "}).profile == "byok"

    def test_a_features_variable_overrides_every_profile(self) -> None:
        snapshot = parse_table(
            SMALL, environ={"LLM_FEATURE_GREET": "gemini:gemini-3.8-flash, openai:gpt-6-luna"}
        )

        assert endpoints(snapshot, "greet", "premium") == ["gemini:gemini-3.8-flash", "openai:gpt-6-luna"]
        assert snapshot.chain("greet", "byok").layer == "environment LLM_FEATURE_GREET"

    def test_a_pin_holds_in_every_profile(self) -> None:
        snapshot = parse_table(SMALL + '[features.greet]\npin = "openai:gpt-5.1"', environ={})

        assert (
            endpoints(snapshot, "greet", "premium")
            == endpoints(snapshot, "greet", "byok")
            == ["openai:gpt-5.1"]
        )

    def test_a_group_hands_over_to_the_next(self) -> None:
        groups = """
        [groups.quality]
        endpoints = ["openai:gpt-6.1-terra", "gemini:gemini-4-argon"]
        then = "fast"
        [groups.fast]
        endpoints = ["openai:gpt-6-luna"]
        [features.deep]
        pin = "group:quality"
        """

        tiers = parse_table(SMALL + groups, environ={}).chain("deep", "premium").tiers

        assert [(tier.group, len(tier.endpoints)) for tier in tiers] == [("quality", 2), ("fast", 1)]

    def test_options_come_from_the_feature(self) -> None:
        snapshot = parse_table(SMALL + '[features.greet]\noptions = { effort = "low" }', environ={})

        assert (
            get_route_options("greet", "gpt-6-luna", "openai", snapshot=snapshot)["reasoning_effort"] == "low"
        )
        assert (
            get_route_options("greet", "gemini-4-argon", "gemini", snapshot=snapshot)["thinking_level"]
            == "low"
        )

    def test_an_unknown_feature_names_the_nearest(self) -> None:
        with pytest.raises(UnknownFeatureError, match="'greet'"):
            parse_table(SMALL, environ={}).features["gret"]


class TestProblems:
    """What a wrong table is told."""

    def test_five_mistakes_are_five_findings_each_with_its_path(self) -> None:
        text = (
            SMALL.replace("gemini:gemini-3.5", "gemni:gemini-3.5")
            + """
        [groups.lonely]
        endpoints = ["openai:gpt-6-luna"]
        [features.greet]
        options = { temperature = 0.2 }
        [features.gret]
        """
        )

        found = problems("profil = 'x'\n" + text)

        assert [finding.split(" ")[0].rstrip(":") for finding in found] == [
            "profil",
            "groups.lonely",
            "profiles.premium.part",
            "features.gret",
            "features.greet.options.temperature",
        ]

    @pytest.mark.parametrize(
        ("more", "path", "hint"),
        [
            ('[profiles.max]\nextends = "premum"', "profiles.max.extends", "Did you mean 'premium'?"),
            ('[features.greet]\nefort = "low"', "features.greet.efort", "unknown key"),
            ('[features.greet]\noptions = { efort = "low" }', "features.greet.options.efort", "'effort'"),
            (
                "[features.greet]\noptions = { thinking_budget = 0 }",
                "features.greet.options.thinking_budget",
                "openai",
            ),
            ('[features.greet]\npin = "gpt-6-luna"', "features.greet.pin", "provider:model"),
            ('[features.greet]\npin = "group:fst"', "features.greet.pin", "no such group"),
            ("[features.greet]\npin = []", "features.greet.pin", "at least 1"),
            (
                '[features.greet]\ntools = true\npin = "openai:sonar-pro"',
                "features.greet.tools",
                "cannot call tools",
            ),
            ("[features.greet]\ndeadline = -1", "features.greet.deadline", "greater than 0"),
            ('[providers.x]\napi = "cohere"', "providers.x.api", "'openai', 'gemini' or 'anthropic'"),
            ('[profiles.max]\ngreet = "openai:gpt-6-luna"', "profiles.max.part", "is missing"),
            ('[profiles.max]\nextends = "max"', "profiles.max.extends", "max → max"),
            ('[providers.Local]\napi = "openai"', "providers.Local", "with a letter first"),
            (f'{PROVIDER_X}\nbase_url = "http://example.com"', "providers.x.base_url", "must be https"),
            (
                f'{PROVIDER_X}\nbase_url = "https://u:hunter2@h/v1"',
                "providers.x.base_url",
                "no user, password",
            ),
            (f'{PROVIDER_X}\nbase_url = "https://h/v1?a=b"', "providers.x.base_url", "query"),
            (f'{PROVIDER_X}\nbase_url = "ftp://h"', "providers.x.base_url", "http or https"),
            (
                f'{PROVIDER_X}\nheaders = {{ X-Api-Key = "a" }}',
                "providers.x.headers",
                "not for a table to set",
            ),
            (f'{PROVIDER_X}\nheaders = {{ X-A = "a\\nb" }}', "providers.x.headers", "not plain text"),
            ('[models."opnai:x"]\ntools = false', "models.opnai:x", "no provider 'opnai'"),
        ],
    )
    def test_a_mistake_is_reported_with_its_path_and_a_hint(self, more: str, path: str, hint: str) -> None:
        found = problems(f"{SMALL}\n{more}")

        assert any(finding.startswith(path) and hint in finding for finding in found), found
        assert "hunter2" not in str(found)

    def test_two_mistakes_in_one_chain_are_two_findings(self) -> None:
        found = problems(SMALL + '[features.greet]\npin = ["group:a1", "group:b2"]')

        assert [finding for finding in found if "'a1'" in finding or "'b2'" in finding] == found
        assert len(found) == 2

    @pytest.mark.parametrize(
        ("environ", "hint"),
        [
            ({"MODEL_QOS": "premum"}, "Did you mean 'premium'?"),
            ({"LLM_FEATURE_GRET": "openai:gpt-6-luna"}, "'greet'"),
            ({"LLM_FEATURE_GREET": "gpt-6-luna"}, "provider:model"),
        ],
    )
    def test_a_wrong_variable_is_reported_by_its_name(self, environ: dict[str, str], hint: str) -> None:
        found = problems(SMALL, **environ)

        assert len(found) == 1
        assert found[0].startswith(next(iter(environ)))
        assert hint in found[0]
        assert "(environment" in found[0]

    def test_a_variable_that_cannot_be_a_key_is_reported_without_its_value(self) -> None:
        found = problems(SMALL, OPENAI_API_KEY="sk-canary\nevil")

        assert found == ["OPENAI_API_KEY (environment): holds characters that no key has."]

    def test_a_syntax_error_is_reported_with_its_line(self) -> None:
        assert "line 2" in problems("profile = 'x'\nthis is not TOML")[0]

    def test_a_missing_file_says_which_variable_names_it(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="Set LLM_CONFIG"):
            load_table(tmp_path / "none.toml", environ={})

    @given(st.text(max_size=200))
    def test_no_text_breaks_the_reader(self, text: str) -> None:
        with suppress(ConfigError):
            parse_table(text, environ={})


class TestHash:
    """The mark that every call carries."""

    def test_it_changes_with_the_table_and_with_who_has_a_key(self) -> None:
        hashes = {
            parse_table(SMALL, environ={}).hash,
            parse_table(SMALL.replace("luna", "astra"), environ={}).hash,
            parse_table(SMALL, environ={"MODEL_QOS": "byok"}).hash,
            parse_table(SMALL, environ={"OPENAI_API_KEY": "a"}).hash,
        }

        assert len(hashes) == 4

    def test_it_does_not_depend_on_the_key_itself(self) -> None:
        first, second = (
            parse_table(SMALL, environ={"OPENAI_API_KEY": key}) for key in ("sk-canary-1", "sk-canary-2")
        )

        assert first.hash == second.hash
        assert "canary" not in f"{first!r}"


class TestReload:
    """A changed file is put in force whole, or not at all."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "llm.toml"
        path.write_text(SMALL)
        return path

    def change(self, file: Path, text: str) -> None:
        before = file.stat().st_mtime_ns
        file.write_text(text)
        os.utime(file, ns=(before + 1_000_000, before + 1_000_000))

    def test_an_unchanged_file_is_left_alone(self, file: Path) -> None:
        table = Table(file, environ={})
        before = table.snapshot

        assert not table.reload_if_changed()
        assert table.snapshot is before

    def test_a_changed_file_is_put_in_force(self, file: Path) -> None:
        table = Table(file, environ={})

        self.change(file, SMALL.replace("gpt-6-luna", "gpt-6-astra"))

        assert table.reload_if_changed()
        assert endpoints(table.snapshot, "greet", "premium") == ["openai:gpt-6-astra"]

    def test_a_change_that_keeps_size_and_time_is_put_in_force(self, file: Path) -> None:
        table = Table(file, environ={})
        before = file.stat()

        while file.stat().st_ctime_ns == before.st_ctime_ns:
            file.write_text(SMALL.replace("gpt-6-luna", "gpt-6-moon"))
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

        assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
        assert table.reload_if_changed()
        assert endpoints(table.snapshot, "greet", "premium") == ["openai:gpt-6-moon"]

    def test_a_bad_file_keeps_the_last_good_snapshot_and_says_so(self, file: Path) -> None:
        table = Table(file, environ={})
        before = table.snapshot

        self.change(file, SMALL.replace("openai:gpt", "opnai:gpt"))

        assert not table.reload_if_changed()
        assert table.snapshot is before
        assert any("opnai" in problem for problem in table.problems)

    def test_a_mended_file_clears_the_problems(self, file: Path) -> None:
        table = Table(file, environ={})
        self.change(file, "nonsense")
        table.reload_if_changed()

        self.change(file, SMALL + "# mended")

        assert table.reload_if_changed()
        assert table.problems == ()

    def test_a_file_that_goes_away_keeps_the_last_good_snapshot(self, file: Path) -> None:
        table = Table(file, environ={})
        before = table.snapshot

        file.unlink()

        assert not table.reload_if_changed()
        assert table.snapshot is before


@pytest.mark.parametrize("way", ["direct", "sdk"])
def test_a_setting_that_was_removed_is_reported_as_such(way: str) -> None:
    row = f'[providers.red]\napi = "openai"\nbase_url = "http://127.0.0.1:9/v1"\nclient = "{way}"\n'

    with pytest.raises(ConfigError, match=r"providers\.red\.client.*unknown key\. It was removed"):
        Table(text=f'{row}[profiles.premium]\nf = "red:m"\n[profiles.byok]\nextends = "premium"', environ={})
