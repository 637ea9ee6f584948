"""Budgets of the table: every problem is told, with its path and a way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backend.utils.llm.errors import ConfigError
from backend.utils.llm.model_config import parse_table

from .tables import PROVIDERS

if TYPE_CHECKING:
    from backend.utils.llm.model_config import TableSnapshot

PROFILES = """
[profiles.premium]
chat = "openai:gpt-6-luna"
title = "openai:gpt-6-luna"
step_down_to = "low"
[profiles.low]
extends = "premium"
chat = "gemini:gemini-3.5-flash-lite"
[profiles.byok]
extends = "premium"
"""


def snapshot(budgets: str, profiles: str = PROFILES, **environ: str) -> TableSnapshot:
    return parse_table(PROVIDERS + profiles + budgets, environ=environ)


def problems(budgets: str, profiles: str = PROFILES) -> str:
    with pytest.raises(ConfigError) as caught:
        snapshot(budgets, profiles)
    return str(caught.value)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (
            'per = "users"\nusd = 1\nperiod = "day"',
            ".per = 'users' (text): input should be 'feature', 'tenant'",
        ),
        ('per = "user"\nusd = 1\nperiod = "week"', ".period = 'week' (text): input should be 'day', 'month'"),
        ('per = "user"\nusd = 0\nperiod = "day"', ".usd = 0 (text): input should be greater than 0"),
        (
            'per = "user"\ntokens = 1.5\nperiod = "day"',
            ".tokens = 1.5 (text): input should be a valid integer",
        ),
        ('per = "user"\nperiod = "day"', " (text): says neither how many dollars nor how many tokens."),
        ('per = "user"\nusd = 1\ntokens = 1\nperiod = "day"', " (text): counts dollars and tokens at once."),
        ('per = "user"\nusd = 1', ".period (text): is missing."),
        (
            'per = "user"\nusd = 1\nperiod = "day"\nwarn_at = 80',
            ".warn_at = 80 (text): must be above 0, and 1 at most. Did you mean 0.8?",
        ),
        (
            'per = "user"\nusd = 1\nperiod = "day"\nstep_down = 0.8',
            ".step_down = 0.8 (text): unknown key. Did you mean 'step_down_at'?",
        ),
        (
            'per = "user"\nusd = 1\nperiod = "day"\nfeatures = ["caht"]',
            ".features = 'caht' (text): there is no such feature. Did you mean 'chat'?",
        ),
    ],
)
def test_what_is_wrong_with_a_budget_is_told_by_its_path(row: str, told: str) -> None:
    assert f"budgets.b{told}" in problems(f"[budgets.b]\n{row}")


def test_all_problems_are_told_at_once() -> None:
    found = problems('[budgets.a]\nper = "user"\nusd = 1\n[budgets.B]\nper = "user"\nusd = 1\nperiod = "dya"')

    assert "budgets.a.period (text): is missing." in found
    assert "budgets.B.period = 'dya'" in found
    assert "budgets.B (text): a budget is named by a-z" in found


def test_a_profile_below_has_to_be_one_and_not_itself() -> None:
    profiles = PROFILES.replace('"low"', '"lwo"').replace(
        "[profiles.low]", '[profiles.low]\nstep_down_to = "low"'
    )

    found = problems("", profiles)

    assert (
        "profiles.premium.step_down_to = 'lwo' (text): there is no such profile. Did you mean 'low'?" in found
    )
    assert "profiles.low.step_down_to (text): goes round in a circle: low → low" in found


def test_who_steps_down_needs_a_profile_below() -> None:
    budget = '[budgets.b]\nper = "user"\nusd = 1\nperiod = "day"\nstep_down_at = 0.5'

    found = problems(budget, PROFILES.replace('step_down_to = "low"\n', ""))

    assert "budgets.b.step_down_at = 0.5 (text): no profile says which one is below it." in found


def test_in_the_lowest_profile_all_of_a_budget_is_its_own() -> None:
    budget = '[budgets.b]\nper = "user"\nusd = 1\nperiod = "day"\nstep_down_at = 0.5'

    high, low = snapshot(budget), snapshot(budget, MODEL_QOS="low")

    assert high.budgets["b"].step_down_at == 0.5
    assert low.budgets["b"].step_down_at is None
    assert low.step_down_snapshot is None


def test_a_feature_knows_its_budgets_in_the_order_in_which_they_are_locked() -> None:
    rows = "".join(
        f'[budgets.{per}s]\nper = "{per}"\nusd = 1\nperiod = "day"\n'
        for per in ("owner", "user", "tenant", "feature")
    )
    chats = '[budgets.chats]\nper = "user"\ntokens = 5\nperiod = "day"\nfeatures = ["chat"]\n'

    table = snapshot(rows + chats)

    assert [budget.name for budget in table.features["chat"].budgets] == [
        "features",
        "tenants",
        "chats",
        "users",
        "owners",
    ]
    assert "chats" not in {budget.name for budget in table.features["title"].budgets}
