"""Names of one's own for endpoints, and what stands behind every chain of a profile."""

from __future__ import annotations

import pytest

from backend.utils.llm import Patchbay, Table, receipt_of
from backend.utils.llm.errors import ConfigError
from backend.utils.llm.model_config import TableSnapshot, parse_table
from backend.utils.llm.testing import LoopbackProvider, Text
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_table

LUNA, TERRA, FLASH = "openai:gpt-6-luna", "openai:gpt-6.1-terra", "gemini:gemini-3.5-flash-lite"
PROVIDERS = """
[providers.openai]
api = "openai"
api_key_env = "OPENAI_API_KEY"
[providers.gemini]
api = "gemini"
api_key_env = "GEMINI_API_KEY"
"""
ALIASES = f"""
[aliases]
quick = "{LUNA}"
smart = "{TERRA}"
"""


def snapshot(rows: str, environ: dict[str, str] | None = None) -> TableSnapshot:
    return parse_table(f'profile = "p"\n{PROVIDERS}{rows}', environ=environ or {})


def chain(of: TableSnapshot, feature: str = "f", profile: str = "p") -> list[str]:
    return [str(endpoint) for endpoint in of.chain(feature, profile)]


def problems(rows: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        snapshot(rows, environ)
    return str(caught.value)


class TestAliases:
    def test_one_stands_wherever_an_endpoint_is_written(self) -> None:
        table = snapshot(
            ALIASES
            + f"""
[profiles.p]
f = ["alias:quick", "group:g"]
t = "group:plans"
[groups.g]
endpoints = ["alias:smart", "{FLASH}"]
select = {{ by = "weighted", weights = {{ "alias:smart" = 3, "{FLASH}" = 1 }} }}
[groups.plans]
endpoints = ["alias:quick"]
select = {{ by = "tier", default = "free", tiers = {{ free = {{ endpoints = ["alias:quick"] }} }} }}
[features.f]
pin = "alias:quick"
[features.other]
pin = ["alias:smart"]
shadow = {{ "alias:quick" = 10 }}
[models."alias:smart"]
context_window = 1000
"""
        )

        assert chain(table) == [LUNA]
        assert chain(table, "t") == [LUNA]
        assert chain(table, "other") == [TERRA]
        assert str(table.features["other"].shadow[0].endpoint) == LUNA
        assert table.endpoints[TERRA].can.context_window == 1000

    def test_the_environment_may_use_one(self) -> None:
        environ = {"LLM_FEATURE_F": f"alias:smart, {FLASH},alias:quick"}

        assert chain(snapshot(f'{ALIASES}[profiles.p]\nf = "{LUNA}"', environ)) == [TERRA, FLASH, LUNA]

    def test_a_call_may_use_one(self, provider: LoopbackProvider) -> None:
        provider.always(Text("hello"))
        text = loopback_table(provider, {"f": LUNA, "g": TERRA}, ALIASES)
        patchbay = Patchbay(Table(text=text, environ=HOUSE_KEYS))

        assert receipt_of(patchbay.get_llm("f", endpoint="alias:smart").invoke("hi"))["endpoint"] == TERRA
        patchbay.close()

    @pytest.mark.parametrize(
        ("rows", "said"),
        [
            (f'{ALIASES}[profiles.p]\nf = "alias:quik"', "profiles.p.f = 'alias:quik' (text): there is no such alias. Did you mean 'alias:quick'?"),
            ('[aliases]\na = 1\n[profiles.p]\nf = "openai:x"', "aliases.a = 1 (text): an alias stands for one endpoint"),
            ('[aliases]\na = "group:g"\n[profiles.p]\nf = "openai:x"', "aliases.a = 'group:g'"),
            ('[aliases]\na = "alias:a"\n[profiles.p]\nf = "alias:a"', "aliases.a = 'alias:a'"),
            ('[aliases]\na = "nobody:m"\n[profiles.p]\nf = "alias:a"', "there is no provider 'nobody'"),
        ],
    )  # fmt: skip
    def test_a_wrong_one_is_told_where_it_is_written(self, rows: str, said: str) -> None:
        assert said in problems(rows)

    def test_a_wrong_one_in_the_environment_is_told_by_the_variable(self) -> None:
        said = problems(f'{ALIASES}[profiles.p]\nf = "{LUNA}"', {"LLM_FEATURE_F": "alias:quik"})

        assert "LLM_FEATURE_F = 'alias:quik' (environment): there is no such alias" in said


BEHIND = f"""
[groups.last]
endpoints = ["{FLASH}"]
[profiles.p]
then = "last"
f = "{LUNA}"
g = ["{TERRA}", "group:last"]
"""


class TestBehindAProfile:
    def test_a_group_stands_behind_every_chain_of_it_once(self) -> None:
        table = snapshot(BEHIND)

        assert chain(table) == [LUNA, FLASH]
        assert chain(table, "g") == [TERRA, FLASH]

    def test_a_profile_that_starts_from_it_has_it_too_unless_it_names_another(self) -> None:
        rows = f"""
[groups.other]
endpoints = ["{TERRA}"]
[profiles.child]
extends = "p"
[profiles.own]
extends = "p"
then = "other"
"""
        table = snapshot(BEHIND + rows)

        assert chain(table, profile="child") == [LUNA, FLASH]
        assert chain(table, profile="own") == [LUNA, TERRA]

    def test_what_is_pinned_stays_alone(self) -> None:
        assert chain(snapshot(f'{BEHIND}[features.f]\npin = "{TERRA}"')) == [TERRA]

    def test_a_choice_by_tier_stays_whole(self) -> None:
        plans = f"""
[groups.plans]
endpoints = ["{LUNA}"]
select = {{ by = "tier", default = "free", tiers = {{ free = {{ endpoints = ["{LUNA}"] }} }} }}
"""
        assert chain(snapshot(BEHIND.replace(f'f = "{LUNA}"', 'f = "group:plans"') + plans)) == [LUNA]

    def test_a_group_that_is_not_there_is_told(self) -> None:
        said = problems(BEHIND.replace('then = "last"', 'then = "lasst"'))

        assert "profiles.p.then = 'lasst' (text): there is no such group. Did you mean 'last'?" in said
