"""What is said of a table that loads."""

from __future__ import annotations

import tomllib
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from backend.tests.unit.llm.tables import PROVIDERS
from backend.tools.lint import LintFinding, lint_table
from backend.utils.llm.model_config import parse_table

if TYPE_CHECKING:
    from backend.tools.lint import Kind

TODAY = date(2026, 11, 21)
PROVIDERS = f"""
{PROVIDERS}
[providers.shed]
api = "openai"
base_url = "http://10.0.0.7:8000/v1"
"""
GOOD = '["openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"]'


def reviewed(chat: str = GOOD, more: str = "", *, horizon: int = 90, **environ: str) -> list[LintFinding]:
    """The findings on a table of one feature."""
    text = f"{PROVIDERS}[profiles.premium]\nchat = {chat}\n[profiles.byok]\nextends = 'premium'\n{more}"
    snapshot = parse_table(text, environ=environ)
    return list(lint_table(snapshot, tomllib.loads(text), TODAY, horizon=timedelta(days=horizon)))


def said(kind: Kind, found: list[LintFinding]) -> list[str]:
    assert {finding.kind for finding in found} <= {kind}
    return [finding.says for finding in found]


def test_of_a_good_table_there_is_nothing_to_say() -> None:
    assert reviewed() == []


class TestRetirements:
    def test_it_names_features_profiles_the_day_and_the_heir(self) -> None:
        found = reviewed('["openai:gpt-4o", "gemini:gemini-3.5-flash-lite"]')

        assert said("retires", found)[0] == (
            "openai:gpt-4o goes off sale on 2027-01-14, in 54 days: chat (byok, premium). "
            "Its vendor names gpt-6-luna instead."
        )

    def test_retired_models_are_reported_first(self) -> None:
        found = reviewed('["openai:gpt-4o", "gemini:gemini-3.5-flash-lite", "openai:o4-mini"]')

        assert [finding.subject for finding in found] == ["openai:o4-mini", "openai:gpt-4o"]
        assert "went off sale on 2026-10-23, 29 days ago" in found[0].says

    def test_what_lies_beyond_the_horizon_is_not_reported(self) -> None:
        assert reviewed('["openai:gpt-4o", "gemini:gemini-3.5-flash-lite"]', horizon=53) == []

    def test_a_demo_is_reported(self) -> None:
        text = f'demo = "openai:gpt-4.1"\n{PROVIDERS}[profiles.premium]\nchat = {GOOD}\n[profiles.byok]\nchat = {GOOD}'

        found = lint_table(parse_table(text, environ={}), tomllib.loads(text), TODAY)

        assert ": the demo." in said("retires", list(found))[0]

    @pytest.mark.parametrize(
        ("more", "environ"),
        [
            (f"[features.chat]\npin = {GOOD}", {}),
            ("", {"LLM_FEATURE_CHAT": "openai:gpt-6-luna,gemini:gemini-3.5-flash-lite"}),
        ],
        ids=["pin", "variable"],
    )
    def test_an_overridden_value_is_reported_with_its_place(self, more: str, environ: dict[str, Any]) -> None:
        found = reviewed('["openai:gpt-4o", "gemini:gemini-3.5-flash-lite"]', more, **environ)

        assert "profiles.premium.chat, not in force." in said("retires", found)[0]


class TestModels:
    def test_an_unknown_model_is_reported(self) -> None:
        found = reviewed('["shed:qwen3-32b", "openai:gpt-6-luna"]')

        assert said("unknown_model", found)[0] == (
            "shed:qwen3-32b: the catalogue does not know this model, so what it can do is assumed. "
            'Say it in [models."shed:qwen3-32b"]. Serves chat (byok, premium).'
        )

    def test_a_model_that_the_table_declares_is_not_reported(self) -> None:
        more = '[models."shed:qwen3-32b"]\ncontext_window = 32768'

        assert reviewed('["shed:qwen3-32b", "openai:gpt-6-luna"]', more) == []

    def test_a_model_without_a_price_is_reported_by_its_name_on_the_wire(self) -> None:
        more = '[providers.openrouter]\napi = "openai"\nbase_url = "https://openrouter.ai/api/v1"\napi_key_env = "K"\nmodel_prefixes = { claude = "anthropic/" }'

        found = reviewed('["openrouter:claude-sonnet-5-5", "openai:gpt-6-luna"]', more)

        assert (
            "no price of 'anthropic/claude-sonnet-5-5' at openrouter is known" in said("no_price", found)[0]
        )

    def test_a_server_without_keys_needs_none(self) -> None:
        more = '[models."shed:qwen3-32b"]\ncontext_window = 32768'

        assert "no_price" not in {
            finding.kind for finding in reviewed('["shed:qwen3-32b", "openai:gpt-6-luna"]', more)
        }

    def test_an_unused_row_is_reported(self) -> None:
        found = reviewed(more='[models."openai:gpt-5.4"]\nattempts = 2')

        assert said("unused_row", found) == [
            'models."openai:gpt-5.4": no profile, group, pin or demo leads to it. Use it or delete it.'
        ]

    def test_a_row_that_only_a_variable_hides_is_used(self) -> None:
        more = '[models."openai:gpt-6-luna"]\nattempts = 2'

        assert reviewed(more=more, LLM_FEATURE_CHAT="openai:gpt-6-sol,gemini:gemini-3.5-flash") == []


class TestBudgets:
    BUDGET = '[budgets.users]\nper = "user"\ntokens = 1000\nperiod = "day"\n'

    def test_one_that_holds_less_than_any_request_sets_aside_is_reported(self) -> None:
        (told,) = said("tight_budget", reviewed(GOOD, self.BUDGET))

        assert told.startswith("budgets.users: a request of chat sets aside ")
        assert told.endswith("Write max_output_tokens in features.chat.options.")

    def test_one_that_holds_a_request_is_not(self) -> None:
        short = "[features.chat]\noptions = { max_output_tokens = 1000 }\n"

        assert reviewed(GOOD, self.BUDGET + short) == []

    def test_one_in_dollars_is_reckoned_by_the_price(self) -> None:
        dollars = self.BUDGET.replace("tokens = 1000", "usd = 0.000001")

        assert "sets aside $" in said("tight_budget", reviewed(GOOD, dollars))[0]
        assert reviewed(GOOD, self.BUDGET.replace("tokens = 1000", "usd = 100")) == []


class TestFeatures:
    def test_a_feature_that_only_one_provider_serves_is_reported(self) -> None:
        found = reviewed('["openai:gpt-6-luna", "openai:gpt-6-sol"]')

        assert said("one_provider", found) == ["chat (byok, premium): only openai serves it."]

    def test_a_hedge_without_a_second_endpoint_is_reported(self) -> None:
        hedged = "[features.chat]\nhedge = true"

        assert reviewed(GOOD, hedged) == []
        (lonely, unhedged) = reviewed('"openai:gpt-6-luna"', hedged)
        assert lonely.kind == "one_provider"
        assert (unhedged.kind, unhedged.says) == (
            "no_hedge",
            "chat (byok, premium): hedge needs a second endpoint, and only openai:gpt-6-luna serves it.",
        )

    @pytest.mark.parametrize(
        ("chat", "more", "told"),
        [
            ("openai:gpt-6.1-sol", "", True),
            ("openai:gpt-6-luna", "", True),
            ("openai:gpt-6-luna", 'options = { effort = "none" }', False),
            ("openai:gpt-6-luna", '[models."openai:gpt-6-luna"]\noptions = { effort = "none" }', False),
            ("openai:gpt-6.1-sol", '[models."openai:gpt-6.1-sol"]\napi_mode = "responses"', False),
            ("openai:gpt-5.4", "", False),
            ("openai:gpt-5.4", 'options = { effort = "low" }', True),
        ],
    )
    def test_tools_that_openai_would_refuse_in_chat_completions_are_reported(
        self, chat: str, more: str, *, told: bool
    ) -> None:
        found = reviewed(f'["{chat}", "gemini:gemini-3.5-flash"]', f"[features.chat]\ntools = true\n{more}")

        assert bool(said("tools_refused", found)) is told


class TestFails:
    """Which findings a check fails for."""

    GOES = LintFinding.model_validate(
        {
            "kind": "retires",
            "subject": "e",
            "says": "",
            "retires": {"endpoint": "e", "day": TODAY, "days": 30, "replacement": None},
        }
    )
    OTHER = LintFinding(kind="one_provider", subject="f", says="")

    @pytest.mark.parametrize("strict", [True, False])
    @pytest.mark.parametrize("finding", [GOES, OTHER], ids=["retirement", "other"])
    def test_without_a_time_every_one_if_strict(self, finding: LintFinding, *, strict: bool) -> None:
        assert finding.fails_check(strict=strict, retirement_within=None) is strict

    @pytest.mark.parametrize("strict", [True, False])
    @pytest.mark.parametrize(
        ("within", "fails"),
        [
            (timedelta(days=30), True),
            (timedelta(days=29, hours=1), True),
            (timedelta(days=29), False),
            (timedelta(0), False),
        ],
    )
    def test_a_retirement_within_the_time_and_no_later_one(
        self, within: timedelta, *, strict: bool, fails: bool
    ) -> None:
        assert self.GOES.fails_check(strict=strict, retirement_within=within) is fails
