"""Rows that say how an endpoint is chosen, and how much may go out: what they mean, and what a wrong one is told."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.utils.llm.caller import HOUSE, Caller
from backend.utils.llm.diagnostics.explain import Explanation
from backend.utils.llm.errors import ConfigError
from backend.utils.llm.model_config import Limits, RateLimit, Table, parse_table
from backend.utils.llm.patchbay import Patchbay
from backend.utils.llm.routing.plan import plan_route
from backend.utils.llm.routing.route import Needs
from backend.utils.llm.routing.selector import in_order
from backend.utils.llm.strategies import STRATEGIES, WeightedStrategy

from .tables import PROVIDERS

if TYPE_CHECKING:
    from pathlib import Path

    from backend.utils.llm.model_config import TableSnapshot

LUNA, TERRA, FLASH = "openai:gpt-6-luna", "openai:gpt-6.1-terra", "gemini:gemini-3.8-flash"
TABLE = f"""
{PROVIDERS}
[profiles.premium]
chat = ["{LUNA}", "{FLASH}"]
note = "group:pair"

[profiles.byok]
extends = "premium"

[groups.pair]
endpoints = ["{LUNA}", "{FLASH}"]
"""
KNOWN = "Known: context, cost, custom, latency, least_busy, least_used, ordered, quota, tier, weighted."
RATE = 'must be written like "90000/minute", per second, minute, hour, day or month.'
WHOLE = "a selection by tier must be the whole chain: what stands beside it is open to every tier."
TIERS = f'tiers = {{ free = "{LUNA}", pro = ["{FLASH}", "{LUNA}"] }}'
BY_TIER = f'select = {{ by = "tier", {TIERS}, default = "free" }}'
BY_LATENCY, BY_QUOTA = 'select = "latency"', 'select = "quota"'
TODAY = date(2026, 11, 21)


def problems(more: str, table: str = TABLE, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_table(f"{table}\n{more}", environ=environ)
    return list(caught.value.problems)


def chat(row: str) -> str:
    return f"[features.chat]\n{row}"


def select(snapshot: TableSnapshot, feature: str = "chat", profile: str = "premium") -> list[Any]:
    return [tier.select for tier in snapshot.chain(feature, profile).tiers]


class TestSpelling:
    """How a strategy is written."""

    @pytest.mark.parametrize("by", sorted(STRATEGIES.keys() - {"tier", "custom", "quota"}))
    def test_a_name_is_short_for_a_table(self, by: str) -> None:
        short = parse_table(f"{TABLE}\n{chat(f'select = {json.dumps(by)}')}", environ={})
        spelt_out = parse_table(f"{TABLE}\n{chat(f'select = {{ by = {json.dumps(by)} }}')}", environ={})

        assert [one.by for one in select(short)][:1] == [by]
        assert select(short) == select(spelt_out)

    def test_a_features_endpoints_are_chosen_among_and_a_groups_are_not(self) -> None:
        snapshot = parse_table(
            f'{TABLE}\n{chat(BY_LATENCY)}\npin = ["{LUNA}", "{TERRA}", "group:pair"]', environ={}
        )

        tiers = snapshot.chain("chat", "premium").tiers
        assert [(len(tier.endpoints), tier.group, tier.select.by) for tier in tiers] == [
            (2, None, "latency"),
            (2, "pair", "ordered"),
        ]

    @pytest.mark.parametrize(
        ("written", "told"),
        [
            (
                '"latencie"',
                "features.chat.select = 'latencie' (text): there is no strategy 'latencie'. Did you mean 'latency'?",
            ),
            (
                '{ by = "xyz" }',
                f"features.chat.select (text): there is no strategy 'xyz'. {KNOWN}",
            ),
            (
                "{ weights = {} }",
                f"features.chat.select (text): does not say by what: by is missing. {KNOWN}",
            ),
            (
                "3",
                f'features.chat.select = 3 (text): must be the name of a strategy, or a table {{ by = "…" }}. {KNOWN}',
            ),
            (
                '["latency"]',
                f'features.chat.select (text): must be the name of a strategy, or a table {{ by = "…" }}. {KNOWN}',
            ),
            (
                '{ by = "latency", explor = 0.1 }',
                "features.chat.select.explor = 0.1 (text): unknown key. Did you mean 'explore'?",
            ),
            (
                '{ by = "latency", weights = {} }',
                "features.chat.select.weights (text): unknown key. Known: by, explore, stale_after.",
            ),
            (
                '{ by = "latency", explore = 0.6 }',
                "features.chat.select.explore = 0.6 (text): input should be less than or equal to 0.5.",
            ),
            (
                f'{{ by = "weighted", weights = {{ "{LUNA}" = 0 }} }}',
                f"features.chat.select.weights.{LUNA} = 0 (text): input should be greater than 0.",
            ),
            (
                '{ by = "weighted", weights = 3 }',
                "features.chat.select.weights = 3 (text): must be a table.",
            ),
            (
                '"tier"',
                (
                    "features.chat.select = 'tier' (text): tier needs more than its name. "
                    'Write a table: { by = "tier", tiers = …, default = … }.'
                ),
            ),
            (
                '"custom"',
                (
                    "features.chat.select = 'custom' (text): custom needs more than its name. "
                    'Write a table: { by = "custom", name = … }.'
                ),
            ),
            (
                '{ by = "tier", default = "free", tiers = {} }',
                "features.chat.select.tiers (text): must hold at least 1.",
            ),
            (
                f'{{ by = "tier", tiers = {{ free = "{LUNA}" }} }}',
                "features.chat.select.default (text): is missing.",
            ),
            (
                f'{{ by = "tier", default = "free", tiers = {{ free = {{ endpoint = "{LUNA}" }} }} }}',
                (
                    "features.chat.select.tiers.free.endpoint = 'openai:gpt-6-luna' (text): unknown key. "
                    "Did you mean 'endpoints'?"
                ),
            ),
        ],
    )
    def test_a_wrong_strategy_is_reported_by_its_path_with_the_nearest_name(
        self, written: str, told: str
    ) -> None:
        assert told in problems(chat(f"select = {written}"))

    def test_every_fault_of_a_strategy_is_reported_at_once(self) -> None:
        found = problems(chat('select = { by = "latency", explor = 1, stale_after = -1 }'))

        assert [finding.split(" ")[0] for finding in found] == [
            "features.chat.select.stale_after",
            "features.chat.select.explor",
        ]

    def test_a_group_is_reported_by_its_own_path(self) -> None:
        table = TABLE + 'select = "fastest"'

        assert problems("", table) == [
            f"groups.pair.select = 'fastest' (text): there is no strategy 'fastest'. {KNOWN}"
        ]


class TestNames:
    """What a strategy names is there."""

    def test_weights_are_of_endpoints_that_are_there(self) -> None:
        found = problems(chat('select = { by = "weighted", weights = { "openai:gpt-6-lun" = 3, x = 1 } }'))

        assert found == [
            (
                "features.chat.select.weights (text): 'openai:gpt-6-lun' is none of the endpoints here. "
                "Did you mean 'openai:gpt-6-luna'?"
            ),
            (
                "features.chat.select.weights (text): 'x' is none of the endpoints here. "
                "Known: gemini:gemini-3.8-flash, openai:gpt-6-luna."
            ),
        ]

    def test_a_ladder_goes_up_to_endpoints_that_are_there(self) -> None:
        found = problems(chat(f'select = {{ by = "context", up_to = {{ "{TERRA}" = 1000 }} }}'))

        assert [finding.split(" ")[0] for finding in found] == ["features.chat.select.up_to"]

    def test_the_names_of_a_group_are_its_own(self) -> None:
        found = problems("", f'{TABLE}select = {{ by = "weighted", weights = {{ "{TERRA}" = 2 }} }}')

        assert [finding.split(" ")[0] for finding in found] == ["groups.pair.select.weights"]

    def test_a_wrong_endpoint_is_reported_once(self) -> None:
        found = problems(
            chat(
                'pin = ["opnai:x", "openai:gpt-6-luna"]\nselect = { by = "weighted", weights = { "opnai:x" = 3 } }'
            )
        )

        assert found == [
            "features.chat.pin = 'opnai:x' (text, pinned): there is no provider 'opnai'. Did you mean 'openai'?"
        ]

    def test_a_pin_is_what_is_chosen_among(self) -> None:
        row = f'pin = ["{LUNA}", "{TERRA}"]\nselect = {{ by = "weighted", weights = {{ "{TERRA}" = 3 }} }}'

        snapshot = parse_table(f"{TABLE}\n{chat(row)}", environ={})

        assert select(snapshot) == select(snapshot, profile="byok") == [WeightedStrategy(weights={TERRA: 3})]

    def test_a_pin_hides_what_profiles_say(self) -> None:
        found = problems(
            chat(f'pin = "{LUNA}"\nselect = {{ by = "weighted", weights = {{ "{FLASH}" = 3 }} }}')
        )

        assert found == [
            f"features.chat.select.weights (text): {FLASH!r} is none of the endpoints here. Known: {LUNA}."
        ]

    def test_profiles_may_differ_where_weights_name_what_one_of_them_has(self) -> None:
        table = TABLE.replace('extends = "premium"', f'extends = "premium"\nchat = ["{TERRA}", "{LUNA}"]')
        row = f'select = {{ by = "weighted", weights = {{ "{TERRA}" = 3, "{FLASH}" = 2 }} }}'

        assert select(parse_table(f"{table}\n{chat(row)}", environ={}), profile="byok")[0].weights[TERRA] == 3

    @pytest.mark.parametrize("by", ["'latency'", '{ by = "custom", name = "mine" }'])
    def test_a_feature_of_groups_alone_has_nothing_to_choose_from(self, by: str) -> None:
        assert problems(f"[features.note]\nselect = {by}") == [
            (
                "features.note.select (text): the feature has no endpoints of its own to choose from. "
                "Write it at the group."
            )
        ]

    def test_what_has_no_quota_cannot_be_chosen_by_one(self) -> None:
        limit = 'limits = { tokens = "100/day" }'

        assert problems(chat(BY_QUOTA)) == [
            (
                "features.chat.select (text): nothing here has a limit per day or month, so there is no quota to go by. "
                'Write one at a provider or an account: limits = { tokens = "1000000/day" }.'
            )
        ]
        for place in ("[providers.openai]\n", f'[models."{LUNA}"]\n'):
            table = (
                TABLE.replace(place, f"{place}{limit}\n") if place in TABLE else f"{TABLE}\n{place}{limit}"
            )
            assert select(parse_table(f"{table}\n{chat(BY_QUOTA)}", environ={}))[0].by == "quota"

    def test_a_ladder_by_cost_must_be_able_to_climb(self) -> None:
        assert problems(chat('select = "cost"\non_invalid_output = "raise"')) == [
            (
                "features.chat.on_invalid_output = 'raise' (text): a ladder by cost climbs after such an answer. "
                'Write "next", or leave it out.'
            )
        ]
        assert problems('[features.note]\non_invalid_output = "raise"', f'{TABLE}select = "cost"') != []


class TestTiers:
    """A tier map is complete, and nothing goes round it."""

    def test_a_short_entry_is_a_list_of_endpoints(self) -> None:
        tiers = select(parse_table(f"{TABLE}\n{chat(BY_TIER)}", environ={}))[0].tiers

        assert {name: tier.endpoints for name, tier in tiers.items()} == {
            "free": (LUNA,),
            "pro": (FLASH, LUNA),
        }

    @pytest.mark.parametrize(
        ("tiers", "default", "told"),
        [
            (
                TIERS,
                "fre",
                "features.chat.select.default = 'fre' (text): there is no such tier. Did you mean 'free'?",
            ),
            (
                f'tiers = {{ free = "{LUNA}" }}',
                "free",
                (
                    f"features.chat.select.tiers (text): no tier may use {FLASH!r}. "
                    "Give it to a tier, or take it out of the chain."
                ),
            ),
            (
                f'tiers = {{ free = ["{LUNA}", "{FLASH}", "{TERRA}"] }}',
                "free",
                (
                    f"features.chat.select.tiers.free (text): {TERRA!r} is none of the endpoints here. "
                    f"Did you mean {LUNA!r}?"
                ),
            ),
            (
                f'tiers = {{ free = {{ endpoints = ["{LUNA}"], tokens = "9/day" }}, pro = "{FLASH}" }}',
                "free",
                (
                    "features.chat.select.tiers.free (text): has tokens, but no second endpoint to go on with. "
                    "Name one, or leave the tokens out."
                ),
            ),
            (
                f'tiers = {{ free = {{ endpoints = ["{LUNA}", "{FLASH}"], until = 0.5 }} }}',
                "free",
                (
                    "features.chat.select.tiers.free (text): has until, but no tokens that it is a share of. "
                    'Add tokens = "…/day", or leave it out.'
                ),
            ),
        ],
    )
    def test_a_wrong_map_is_reported(self, tiers: str, default: str, told: str) -> None:
        assert problems(chat(f'select = {{ by = "tier", {tiers}, default = "{default}" }}')) == [told]

    @pytest.mark.parametrize("beside", ["split", "shadow"])
    def test_a_split_or_a_shadow_knows_no_tiers(self, beside: str) -> None:
        assert problems(chat(f'{BY_TIER}\n{beside} = {{ "{TERRA}" = 10 }}')) == [
            f"features.chat.{beside} (text): does not go with a selection by tier: it knows no tiers."
        ]

    def test_no_group_stands_beside_it(self) -> None:
        found = problems(chat(f'{BY_TIER}\npin = ["{LUNA}", "{FLASH}", "group:pair"]'))

        assert found == [f"features.chat.pin = '{LUNA}, {FLASH}, group:pair' (text, pinned): {WHOLE}"]

    def test_no_other_profile_goes_round_it(self) -> None:
        table = TABLE.replace('extends = "premium"', 'extends = "premium"\nchat = "group:pair"')

        assert problems(chat(BY_TIER), table) == [f"profiles.byok.chat = 'group:pair' (text): {WHOLE}"]

    def test_every_profile_has_something_for_every_tier(self) -> None:
        table = TABLE.replace('extends = "premium"', f'extends = "premium"\nchat = "{FLASH}"')

        assert problems(chat(BY_TIER), table) == [
            (
                "features.chat.select.tiers.free (text): none of its endpoints is in profiles.byok.chat, "
                "so nothing serves it there."
            )
        ]

    @pytest.mark.parametrize("chain", [f'["group:pair", "{TERRA}"]', f'["{TERRA}", "group:pair"]'])
    def test_nothing_stands_beside_a_group_by_tier(self, chain: str) -> None:
        table = TABLE.replace('note = "group:pair"', f"note = {chain}") + BY_TIER

        found = problems("", table)

        assert len(found) == 1
        assert found[0].startswith("profiles.premium.note = ")
        assert found[0].endswith(WHOLE)

    def test_nothing_follows_a_group_by_tier(self) -> None:
        more = f'\nthen = "rest"\n[groups.rest]\nendpoints = ["{TERRA}"]'

        assert problems(more, TABLE + BY_TIER) == [f"groups.pair.then = 'rest' (text): {WHOLE}"]

    def test_a_group_by_tier_follows_nothing(self) -> None:
        more = f'\n[groups.first]\nendpoints = ["{TERRA}"]\nthen = "pair"'
        table = TABLE.replace('note = "group:pair"', 'note = "group:first"') + BY_TIER

        assert problems(more, table) == [f"groups.first.then = 'pair' (text): {WHOLE}"]


class TestOverrides:
    """What the environment lays over a feature whose strategy names endpoints."""

    def test_one_with_the_same_endpoints_is_chosen_among(self) -> None:
        snapshot = parse_table(f"{TABLE}\n{chat(BY_TIER)}", environ={"LLM_FEATURE_CHAT": f"{FLASH}, {LUNA}"})

        assert [one.by for one in select(snapshot)] == ["tier"]
        assert [str(endpoint) for endpoint in snapshot.chain("chat", "byok")] == [FLASH, LUNA]

    def test_an_override_that_does_not_fit_a_tier_map_is_reported_by_the_variable(self) -> None:
        assert problems(chat(BY_TIER), LLM_FEATURE_CHAT=f"{LUNA}, {TERRA}") == [
            (
                f"LLM_FEATURE_CHAT = '{LUNA}, {TERRA}' (environment): features.chat.select names {FLASH!r}, "
                "which is not here. Name the same endpoints, or change the table."
            ),
            f"LLM_FEATURE_CHAT = '{LUNA}, {TERRA}' (environment): features.chat.select lets no tier use {TERRA!r}.",
        ]

    def test_an_override_that_bypasses_a_tier_map_is_reported(self) -> None:
        found = problems(chat(BY_TIER), LLM_FEATURE_CHAT=f"{LUNA}, {FLASH}, group:pair")

        assert [finding.split(" ")[0] for finding in found] == ["LLM_FEATURE_CHAT"]
        assert WHOLE in found[0]

    def test_an_override_without_a_weighted_endpoint_is_reported(self) -> None:
        row = f'select = {{ by = "weighted", weights = {{ "{LUNA}" = 3 }} }}'

        assert problems(chat(row), LLM_FEATURE_CHAT=FLASH) == [
            (
                f"LLM_FEATURE_CHAT = {FLASH!r} (environment): features.chat.select names {LUNA!r}, which is not here. "
                "Name the same endpoints, or change the table."
            )
        ]

    def test_faults_of_the_file_are_reported_all_the_same(self) -> None:
        row = 'select = { by = "weighted", weights = { x = 3 } }'

        found = problems(chat(row), LLM_FEATURE_CHAT=FLASH)

        assert [finding.split(" ")[0] for finding in found] == [
            "features.chat.select.weights",
            "LLM_FEATURE_CHAT",
        ]

    @pytest.mark.parametrize("links", [FLASH, "group:pair", f"{TERRA}, group:pair"])
    def test_any_fits_a_strategy_that_names_nothing(self, links: str) -> None:
        snapshot = parse_table(f"{TABLE}\n{chat(BY_LATENCY)}", environ={"LLM_FEATURE_CHAT": links})

        assert snapshot.chain("chat", "premium").layer == "environment LLM_FEATURE_CHAT"


class TestSplits:
    """Endpoints on trial, and those that are watched."""

    @pytest.mark.parametrize(
        ("row", "told"),
        [
            (
                f'split = {{ "{LUNA}" = 60, "{TERRA}" = 60 }}',
                (
                    "features.chat.split (text): is 120 percent in all, more than 100. "
                    "Lower the shares; what they leave is the control's."
                ),
            ),
            (
                f'split = {{ "{LUNA}" = 150 }}',
                f"features.chat.split.{LUNA} = 150 (text): input should be less than or equal to 100.",
            ),
            (
                f'shadow = {{ "{LUNA}" = 0 }}',
                f"features.chat.shadow.{LUNA} = 0 (text): input should be greater than 0.",
            ),
            (
                'split = { "opnai:gpt-6-luna" = 10 }',
                (
                    "features.chat.split = 'opnai:gpt-6-luna' (text): there is no provider 'opnai'. "
                    "Did you mean 'openai'?"
                ),
            ),
            (
                'split = { "group:pair" = 10 }',
                "features.chat.split = 'group:pair' (text): must be an endpoint, not a group.",
            ),
            (
                'split = { "openai:sonar-pro" = 10 }\ntools = true',
                "features.chat.tools = True (text): openai:sonar-pro cannot call tools.",
            ),
            (
                f'shadow = {{ "{TERRA}" = 10 }}\noptions = {{ temperature = 0.5 }}',
                f"features.chat.options.temperature = 0.5 (text): {TERRA}",
            ),
            ("stop = { after = 9 }", "features.chat.stop (text): there is no split to stop."),
            (
                f'split = {{ "{TERRA}" = 10 }}\nstop = {{ afte = 9 }}',
                "features.chat.stop.afte = 9 (text): unknown key. Did you mean 'after'?",
            ),
        ],
    )
    def test_a_wrong_split_is_reported(self, row: str, told: str) -> None:
        assert any(finding.startswith(told) for finding in problems(chat(row))), problems(chat(row))

    def test_shares_may_be_the_whole(self) -> None:
        row = f'split = {{ "{TERRA}" = 33.3, "{LUNA}" = 33.3, "{FLASH}" = 33.4 }}'

        assert len(parse_table(f"{TABLE}\n{chat(row)}", environ={}).features["chat"].split) == 3


class TestLimits:
    """How much may go out."""

    @pytest.mark.parametrize("written", ["60/minute", "60 / minute", " 6_0/minute "])
    def test_a_rate_is_so_much_in_a_period(self, written: str) -> None:
        assert RateLimit.parse(written) == RateLimit(60, "minute")
        assert str(RateLimit.parse(written)) == "60/minute"

    def test_there_may_be_one_rate_or_several(self) -> None:
        limits = Limits.model_validate({"requests": "60/minute", "tokens": ["90000/minute", "1_000_000/day"]})

        assert limits.requests == (RateLimit(60, "minute"),)
        assert [rate.is_calendar_quota for rate in limits.tokens] == [False, True]
        assert not limits.is_unlimited

    @pytest.mark.parametrize(
        ("limits", "told"),
        [
            (
                'requests = "60 per minute"',
                f"requests = '60 per minute' (text): {RATE} Did you mean \"60/minute\"?",
            ),
            (
                'requests = "90,000 a Day"',
                f"requests = '90,000 a Day' (text): {RATE} Did you mean \"90000/day\"?",
            ),
            ("requests = 60", f'requests = 60 (text): {RATE} Did you mean "60/minute"?'),
            ('requests = "many"', f"requests = 'many' (text): {RATE}"),
            ('requests = "1__0/day"', f"requests = '1__0/day' (text): {RATE} Did you mean \"10/day\"?"),
            ("requests = true", f"requests = True (text): {RATE}"),
            (
                'requests = "0/minute"',
                "requests = '0/minute' (text): must let out at least 1. Leave it out if nothing is limited.",
            ),
            ('tokens = "5/min"', "tokens = '5/min' (text): there is no period 'min'. Did you mean 'minute'?"),
            (
                'tokens = ["5/day", "5/week"]',
                "tokens.1 = '5/week' (text): there is no period 'week'. Known: day, hour, minute, month, second.",
            ),
            (
                'tokens = ["5/day", "6/day"]',
                "tokens (text): says twice how much is let out per day. Keep the smaller one.",
            ),
            ("concurrency = 0", "concurrency = 0 (text): input should be greater than 0."),
            ('request = "5/day"', "request = '5/day' (text): unknown key. Did you mean 'requests'?"),
        ],
    )
    @pytest.mark.parametrize(
        "place",
        [
            "providers.shed.limits",
            "providers.shed.user_limits",
            "providers.shed.accounts.a.limits",
            "features.chat.limits",
        ],
    )
    def test_a_wrong_limit_is_reported(self, place: str, limits: str, told: str) -> None:
        shed = '[providers.shed]\napi = "openai"\n[providers.shed.accounts.a]\napi_key_env = "A"\n'

        assert problems(f"{shed}\n[{place}]\n{limits}") == [f"{place}.{told}"]


class TestAccounts:
    """Several keys at one provider."""

    ACCOUNTS = TABLE.replace(
        'api_key_env = "OPENAI_API_KEY"',
        'accounts = { a = { api_key_env = "A" }, b = { api_key_env = "B", weight = 3 } }',
    )

    def test_each_account_has_its_own_key_and_by_default_the_providers_limits(self) -> None:
        table = self.ACCOUNTS.replace("weight = 3", "limits = { concurrency = 2 }")
        table = table.replace("[providers.gemini]", "limits = { concurrency = 9 }\n[providers.gemini]")

        snapshot = parse_table(table, environ={"B": "key-b"})

        openai = snapshot.providers["openai"]
        told = [
            (account.slot, account.api_key_env, account.weight, account.limits.concurrency)
            for account in openai.accounts
        ]
        assert told == [("openai/a", "A", 1, 9), ("openai/b", "B", 1, 2)]
        assert set(snapshot.house_keys) == {"openai/b"}
        assert snapshot.has_house_key(openai)

    @pytest.mark.parametrize(
        ("row", "told"),
        [
            (
                'api_key_env = "X"\naccounts = { a = { api_key_env = "A" } }',
                (
                    "providers.x.api_key_env (text): a provider has one key or several accounts, not both. "
                    "Make the one key an account."
                ),
            ),
            (
                'accounts = { "A b" = { api_key_env = "A" } }',
                "providers.x.accounts.A b (text): an account is named by a-z, 0-9, _ and -, with a letter first.",
            ),
            ("accounts = {}", "providers.x.accounts (text): must hold at least 1."),
            ("accounts = { a = {} }", "providers.x.accounts.a.api_key_env (text): is missing."),
            ('accounts = { a = "A" }', "providers.x.accounts.a = 'A' (text): must be a table."),
            (
                'accounts = { a = { api_key = "A", api_key_env = "A" } }',
                "providers.x.accounts.a.api_key = 'A' (text): unknown key. Did you mean 'api_key_env'?",
            ),
            (
                'accounts = { a = { api_key_env = "A", weight = 0 } }',
                "providers.x.accounts.a.weight = 0 (text): input should be greater than 0.",
            ),
            (
                'accounts = { a = { api_key_env = "A" }, b = { api_key_env = "A" } }',
                "providers.x.accounts.b.api_key_env = 'A' (text): is the key of the account 'a' already.",
            ),
            (
                'base_url = "http://example.com"\naccounts = { a = { api_key_env = "A" } }',
                "providers.x.base_url (text): must be https: a key would travel in clear text.",
            ),
        ],
    )
    def test_a_wrong_row_is_reported(self, row: str, told: str) -> None:
        assert problems(f'[providers.x]\napi = "openai"\n{row}') == [told]

    def test_an_address_is_judged_beside_accounts_that_are_wrong(self) -> None:
        row = 'base_url = "http://example.com"\naccounts = { a = { api_key_env = "a" } }'

        found = problems(f'[providers.x]\napi = "openai"\n{row}')

        assert [finding.split(" ")[0] for finding in found] == [
            "providers.x.accounts.a.api_key_env",
            "providers.x.base_url",
        ]


class TestCustomSelectors:
    """The application registers what the table names."""

    ROW = chat('select = { by = "custom", name = "cheapest" }')

    def test_a_registered_one_is_in_force(self) -> None:
        patchbay = Patchbay(Table(text=f"{TABLE}\n{self.ROW}", environ={}), selectors={"cheapest": in_order})

        assert patchbay.table.snapshot.custom_selector_paths == {"cheapest": "features.chat.select"}

    @pytest.mark.parametrize("selectors", [None, {"dearest": in_order}])
    def test_one_that_is_not_registered_is_a_problem_at_construction(self, selectors: Any) -> None:
        with pytest.raises(ConfigError, match="'cheapest'") as caught:
            Patchbay(Table(text=f"{TABLE}\n{self.ROW}", environ={}), selectors=selectors)

        assert len(caught.value.problems) == 1

    def test_a_reload_that_names_an_unknown_one_keeps_the_last_good_table(self, tmp_path: Path) -> None:
        path = tmp_path / "llm.toml"
        path.write_text(f"{TABLE}\n{self.ROW}")
        patchbay = Patchbay(Table(path, environ={}), selectors={"cheapest": in_order})
        before = patchbay.table.snapshot

        path.write_text(f"{TABLE}\n{self.ROW.replace('cheapest', 'dearest')}")
        os.utime(path, ns=(1, 1))

        assert not patchbay.table.reload_if_changed()
        assert patchbay.table.snapshot is before
        assert "'dearest'" in str(patchbay.table.problems)


# Any table that loads gives a plan ---------------------------------------------------------------------------------

ENDPOINTS = st.lists(st.sampled_from([LUNA, TERRA, FLASH, "shed:small"]), min_size=1, max_size=4, unique=True)
RATES = st.builds(
    lambda amount, per: f"{amount}/{per}", st.integers(1, 999), st.sampled_from(["minute", "day"])
)
LIMITS = st.fixed_dictionaries(
    {}, optional={"requests": RATES, "tokens": RATES, "concurrency": st.integers(1, 9)}
)
SHARES = st.dictionaries(st.sampled_from([LUNA, TERRA]), st.integers(1, 50), max_size=2)


@st.composite
def choices(draw: st.DrawFn, endpoints: list[str]) -> dict[str, Any]:
    """A strategy that fits ``endpoints``, most of the time."""
    by = draw(st.sampled_from(sorted(STRATEGIES)))
    some = st.sampled_from(endpoints)
    match by:
        case "weighted":
            return {"by": by, "weights": draw(st.dictionaries(some, st.integers(1, 9), max_size=3))}
        case "context":
            return {"by": by, "up_to": draw(st.dictionaries(some, st.integers(1, 9999), max_size=3))}
        case "tier":
            lists = st.lists(some, min_size=1, max_size=3)
            return {"by": by, "default": "all", "tiers": {"all": endpoints, "free": draw(lists)}}
        case "custom":
            return {"by": by, "name": "mine"}
        case _:
            return {"by": by}


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    own, shared, fast = draw(ENDPOINTS), draw(ENDPOINTS), draw(ENDPOINTS)
    groups: dict[str, Any] = {"pair": {"endpoints": shared, "select": draw(choices(shared))}}
    if draw(st.booleans()):
        groups["fast"] = {"endpoints": fast, "select": draw(choices(fast))}
        groups["pair"]["then"] = "fast"
    feature = {
        "select": draw(choices(own)),
        "split": draw(SHARES),
        "shadow": draw(SHARES),
        "limits": draw(LIMITS),
    }
    return {
        "providers": {
            "openai": {
                "api": "openai",
                "accounts": {"a": {"api_key_env": "A", "limits": draw(LIMITS)}, "b": {"api_key_env": "B"}},
                "limits": draw(LIMITS),
            },
            "gemini": {"api": "gemini", "api_key_env": "C", "user_limits": draw(LIMITS)},
            "shed": {"api": "openai", "base_url": "http://127.0.0.1:1/v1"},
        },
        "models": {LUNA: {"limits": draw(LIMITS)}},
        "groups": groups,
        "profiles": {
            "premium": {"chat": draw(st.sampled_from([own, [*own, "group:pair"]])), "note": "group:pair"},
            "byok": {"extends": "premium"},
        },
        "features": {"chat": {key: value for key, value in feature.items() if value}},
    }


def toml(table: dict[str, Any], path: tuple[str, ...] = ()) -> str:
    """``table`` in TOML, which has JSON's strings, figures and lists."""
    own = "\n".join(
        f"{json.dumps(key)} = {json.dumps(value)}"
        for key, value in table.items()
        if not isinstance(value, dict)
    )
    below = [toml(value, (*path, key)) for key, value in table.items() if isinstance(value, dict)]
    head = f"[{'.'.join(map(json.dumps, path))}]\n" if path else ""
    return "\n".join([head + own, *below])


CALLERS = st.sampled_from(
    [
        HOUSE,
        Caller(tier="free", user_id="u"),
        Caller(tier="?", conversation_id="c"),
        Caller(keys={"openai": "k"}),
    ]
)


class TestAnyTable:
    """Whatever loads can be decided by."""

    def test_a_table_that_loads_gives_a_plan_for_every_feature(self) -> None:
        loaded = Counter[bool]()

        @given(
            table=tables(),
            keys=st.sets(st.sampled_from(["A", "B", "C"])),
            caller=CALLERS,
            tokens=st.sampled_from([0, 500, 200_000, 5_000_000]),
        )
        def check(table: dict[str, Any], keys: set[str], caller: Caller, tokens: int) -> None:
            try:
                snapshot = parse_table(toml(table), environ={key: f"key-{key}" for key in keys})
            except ConfigError:
                loaded[False] += 1
                return
            loaded[True] += 1
            for feature in snapshot.features:
                route = plan_route(snapshot, feature, caller, Needs(tokens=tokens), today=TODAY)
                self.check(Explanation._make(route), snapshot)

        check()
        assert loaded[True] > loaded[False] / 4, "else it says little"

    def check(self, route: Explanation, snapshot: TableSnapshot) -> None:
        """It serves, or says why not; and what it does not use it tells of."""
        assert (route.expected_error() is None) == bool(route.candidates)
        assert str(route)
        assert json.dumps(route.as_dict())
        told = {str(candidate.endpoint) for candidate in route.candidates}
        told |= {str(rejection.endpoint) for rejection in route.skipped}
        assert {str(endpoint) for endpoint in snapshot.chain(route.feature.name, route.profile)} <= told
