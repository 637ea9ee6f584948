"""Stored overrides: between the file and the environment, each for its time, and never a reason to stop the table."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from backend.utils.llm import Caller, Needs, Patchbay
from backend.utils.llm.caller import HOUSE
from backend.utils.llm.clock import Time
from backend.utils.llm.errors import ConfigError, NoEndpointError
from backend.utils.llm.model_config import Override, Table, parse_table
from backend.utils.llm.routing.plan import plan_route

from .tables import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from backend.utils.llm.model_config import TableSnapshot

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
LUNA, SOL, FLASH = "openai:gpt-6-luna", "openai:gpt-6.1-sol", "gemini:gemini-3.5-flash-lite"
TABLE = f"""
{PROVIDERS}
[profiles.premium]
greet = ["{LUNA}", "{FLASH}"]
part  = "{LUNA}"
tell  = "{FLASH}"

[profiles.byok]
extends = "premium"
greet = "{SOL}"

[features.tell]
tools = true
"""
ENVIRON = {"OPENAI_API_KEY": "sk-house-1", "GEMINI_API_KEY": "sk-house-2"}


def stored(
    subject: str, *links: str, hours: float = 2, number: int = 1, reason: str = "an outage"
) -> Override:
    return Override(f"o{number}", subject, links, "ann", reason, NOON, NOON + timedelta(hours=hours))


class Store:
    """Overrides of which some can be had, or none, at an hour."""

    def __init__(self, *kept: Override) -> None:
        self.kept: tuple[Override, ...] = kept
        self.hour = 0.0
        self.is_away = False

    def __call__(self) -> Iterable[Override]:
        if self.is_away:
            raise ConnectionError("the database is away")
        return self.kept

    def now(self) -> datetime:
        return NOON + timedelta(hours=self.hour)


def table(store: Store, text: str = TABLE, path: Path | None = None, **environ: str) -> Table:
    text_or_none = None if path else text
    return Table(path, text=text_or_none, environ=ENVIRON | environ, overrides=store, now=store.now)


def chain(snapshot: TableSnapshot, feature: str = "greet", profile: str = "premium") -> list[str]:
    return [str(endpoint) for endpoint in snapshot.chain(feature, profile)]


def events(caplog: pytest.LogCaptureFixture, field: str) -> list[tuple[str, str]]:
    """What the log told, each with one of its fields."""
    told = (vars(record) for record in caplog.records)
    return [(one["event"], one[field]) for one in told if "event" in one]


class TestWhatServes:
    def test_an_override_stands_above_every_profile(self) -> None:
        found = table(Store(stored("greet", FLASH, LUNA))).snapshot

        assert chain(found) == chain(found, profile="byok") == [FLASH, LUNA]

    def test_an_override_stands_above_a_pin(self) -> None:
        pinned = f'{TABLE}\n[features.part]\npin = "{SOL}"'

        assert chain(table(Store(stored("part", FLASH)), pinned).snapshot, "part") == [FLASH]

    def test_the_environment_stands_above_an_override(self) -> None:
        made = table(Store(stored("greet", FLASH)), LLM_FEATURE_GREET=SOL)

        assert chain(made.snapshot) == [SOL]
        assert made.snapshot.features["greet"].override is None

    def test_of_two_overrides_the_later_one_serves(self) -> None:
        made = table(Store(stored("greet", FLASH), stored("greet", SOL, number=2)))

        assert chain(made.snapshot) == [SOL]
        assert made.snapshot.features["greet"].override == stored("greet", SOL, number=2)

    def test_without_overrides_the_hash_is_that_of_the_table(self) -> None:
        assert table(Store()).snapshot.hash == parse_table(TABLE, environ=ENVIRON).hash

    def test_each_override_changes_the_hash(self) -> None:
        several = [(), (stored("greet", FLASH),), (stored("greet", SOL),), (stored(LUNA),)]

        assert len({table(Store(*kept)).snapshot.hash for kept in several}) == 4

    def test_an_alias_stands_for_its_endpoint(self) -> None:
        text = f'{TABLE}\n[aliases]\nbig = "{SOL}"\nsmall = "{LUNA}"'
        kept = stored("greet", "alias:big", FLASH), stored("alias:small", number=2)

        made = table(Store(*kept), text)

        assert chain(made.snapshot) == [SOL, FLASH]
        assert set(made.snapshot.disabled) == {LUNA}
        assert [info.state for info in Patchbay(made).get_qos_info().overrides] == ["in_force", "in_force"]
        assert (
            "there is no such alias"
            in table(Store(stored("greet", "alias:no"))).ignored_overrides[0].problems[0]
        )


class TestDisabled:
    @pytest.mark.parametrize("keys", [{}, {"openai": "sk-anns"}])
    def test_a_disabled_endpoint_serves_no_chain_and_no_key(self, keys: dict[str, str]) -> None:
        snapshot = table(Store(stored(LUNA), stored(SOL, number=2))).snapshot

        caller = Caller(user_id="ann", keys=keys) if keys else HOUSE
        route = plan_route(snapshot, "greet", caller, Needs(), today=date(2026, 11, 29))

        assert {skip.code for skip in route.skipped if skip.endpoint.provider.name == "openai"} == {
            "disabled"
        }
        assert "openai" not in {candidate.endpoint.provider.name for candidate in route.candidates}

    def test_the_reason_tells_who_until_when_and_why(self) -> None:
        made = Patchbay(table(Store(stored(LUNA))))

        route = made.explain("greet")

        told = route.as_dict()
        assert told["skipped"][0]["reason"] == "disabled o1 until 2026-11-29 14:00 UTC"
        assert [(one["author"], one["reason"]) for one in told["disabled"]] == [("ann", "an outage")]
        assert "disabled o1 by ann until 2026-11-29 14:00 UTC: an outage" in str(route)

    def test_no_error_of_a_call_tells_who_or_why(self) -> None:
        made = Patchbay(
            table(Store(*(stored(literal, number=n) for n, literal in enumerate((LUNA, SOL, FLASH)))))
        )

        with pytest.raises(NoEndpointError) as caught:
            made.get_llm("greet", caller=HOUSE).invoke("hi")

        assert "disabled" in str(caught.value)
        assert "an outage" not in str(caught.value)
        assert "by ann" not in str(caught.value)

    def test_an_endpoint_on_trial_may_be_disabled(self) -> None:
        trial = f'{TABLE}\n[features.greet]\nsplit = {{ "{SOL}" = 100 }}'

        route = Patchbay(table(Store(stored(SOL)), trial)).explain("greet", caller=HOUSE)

        assert [str(candidate.endpoint) for candidate in route.candidates] == [LUNA, FLASH]

    def test_the_demo_may_be_disabled(self) -> None:
        text = 'demo = "local:small"\n[providers.local]\napi = "openai"\n' + TABLE
        made = Table(text=text, environ={}, overrides=Store(stored("local:small")), now=lambda: NOON)

        route = Patchbay(made).explain("greet", caller=HOUSE)

        assert (route.candidates, route.skipped[0].code) == ((), "disabled")


class TestMisfits:
    """What does not fit is left out with its reasons, and everything else is in force."""

    @pytest.mark.parametrize(
        ("bad", "reason"),
        [
            (stored("gret", FLASH), "Did you mean 'greet'?"),
            (stored("greet", "opnai:gpt-6-luna"), "Did you mean 'openai'?"),
            (stored("greet", "gpt-6-luna"), "an endpoint is written provider:model"),
            (stored("greet", "group:none"), "there is no such group"),
            (stored("openai:gpt-6-lune"), "Did you mean 'openai:gpt-6-luna'"),
            (stored("tell", "gemini:nobody"), "gemini:nobody"),
        ],
    )
    def test_it_is_ignored_with_a_reason_and_a_log_line(
        self, bad: Override, reason: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        more = '\n[models."gemini:nobody"]\ntools = false\n[features.part]\nshadow = { "gemini:nobody" = 1 }'

        made = table(Store(bad, stored("part", FLASH, number=2)), TABLE + more)

        assert chain(made.snapshot, "part") == [FLASH]
        assert [override.override for override in made.ignored_overrides] == [bad]
        assert reason in made.ignored_overrides[0].problems[0]
        assert events(caplog, "override") == [("override.ignored", "o1")]
        assert reason in caplog.text

    def test_an_override_that_fits_no_more_is_left_out_and_comes_back(self, tmp_path: Path) -> None:
        file = tmp_path / "llm.toml"
        file.write_text(TABLE)
        made = table(Store(stored("part", FLASH)), path=file)

        file.write_text(TABLE.replace("part ", "other"))
        made.reload_if_changed()
        left_out = [override.override.id for override in made.ignored_overrides]
        file.write_text(TABLE)
        made.reload_if_changed()

        assert (left_out, made.ignored_overrides, chain(made.snapshot, "part")) == (["o1"], (), [FLASH])

    def test_a_bad_table_is_refused_for_its_own_problems_alone(self) -> None:
        with pytest.raises(ConfigError) as caught:
            table(Store(stored("gret", FLASH)), TABLE.replace('part  = "openai', 'part  = "opnai'))

        assert all("override" not in problem for problem in caught.value.problems)

    def test_a_required_check_counts_for_overrides_too(self) -> None:
        made = table(store := Store())
        made.add_snapshot_check(lambda snapshot: ["no SOL here"] if SOL in chain(snapshot) else [])

        store.kept = (stored("greet", SOL),)
        made.reload_if_changed()

        assert (chain(made.snapshot), made.ignored_overrides[0].problems) == ([LUNA, FLASH], ("no SOL here",))

    def test_whether_one_would_fit_is_told_and_changes_nothing(self) -> None:
        made = table(Store())

        assert chain(made.preview_override(stored("greet", SOL))) == [SOL]
        with pytest.raises(ConfigError, match="Did you mean 'greet'"):
            made.preview_override(stored("gret", SOL))
        assert chain(made.snapshot) == [LUNA, FLASH]


class TestInTime:
    def test_a_new_override_is_in_force_at_the_next_look_and_swapped_whole(self) -> None:
        made = table(store := Store())
        before = made.snapshot

        store.kept = (stored("greet", SOL),)

        assert made.reload_if_changed()
        assert (chain(before), chain(made.snapshot)) == ([LUNA, FLASH], [SOL])

    def test_nothing_is_read_anew_while_nothing_changes(self) -> None:
        made = table(Store(stored("greet", SOL), stored("gret", SOL, number=2)))
        before = made.snapshot

        assert not made.reload_if_changed()
        assert made.snapshot is before

    def test_an_override_ends_by_itself(self) -> None:
        made = table(store := Store(stored("greet", SOL, hours=2)))

        store.hour = 2
        made.reload_if_changed()

        assert chain(made.snapshot) == [LUNA, FLASH]

    def test_what_had_its_time_while_no_process_ran_is_not_in_force(self) -> None:
        store = Store(stored("greet", SOL, hours=-1))

        assert chain(table(store).snapshot) == [LUNA, FLASH]

    def test_while_the_store_is_away_those_before_hold_on_each_for_its_time(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        made = table(store := Store(stored("greet", SOL), stored("part", SOL, hours=1, number=2)))
        store.is_away = True
        store.hour = 1

        made.reload_if_changed()
        made.reload_if_changed()

        assert (chain(made.snapshot), chain(made.snapshot, "part")) == ([SOL], [LUNA])
        assert caplog.text.count("overrides.unreadable") == 1

    def test_overrides_change_over_the_last_good_table_while_the_file_is_bad(self, tmp_path: Path) -> None:
        file = tmp_path / "llm.toml"
        file.write_text(TABLE)
        made = table(store := Store(stored("greet", SOL)), path=file)

        file.write_text("nonsense")
        store.kept = (stored("greet", FLASH, number=2),)

        assert made.reload_if_changed()
        assert chain(made.snapshot) == [FLASH]
        assert made.problems

    def test_the_log_tells_when_one_comes_and_when_it_goes(self, caplog: pytest.LogCaptureFixture) -> None:
        made = table(store := Store())
        caplog.set_level("INFO")

        for kept in ((stored("greet", SOL),), (stored("greet", SOL), stored("part", SOL, number=2)), ()):
            store.kept = kept
            made.reload_if_changed()

        assert events(caplog, "subject") == [
            ("override.in_force", "greet"),
            ("override.in_force", "part"),
            ("override.over", "greet"),
            ("override.over", "part"),
        ]
        assert f"{stored('greet', SOL)}: is in force" in caplog.text


class TestShown:
    @pytest.fixture
    def patchbay(self) -> Patchbay:
        kept = (
            stored("greet", SOL),
            stored("part", SOL, number=2),
            stored("gret", SOL, number=3),
            stored(FLASH, number=4),
        )
        return Patchbay(table(Store(*kept), LLM_FEATURE_PART=LUNA), time=Time(now=lambda: NOON))

    def test_explain_tells_author_reason_and_end(self, patchbay: Patchbay) -> None:
        route = patchbay.explain("greet", caller=HOUSE)

        told = route.as_dict()
        assert told["override"] == json.loads(json.dumps(stored("greet", SOL).as_dict()))
        assert told["candidates"][0]["layer"] == "override o1 until 2026-11-29 14:00 UTC"
        assert "  !  override o1 by ann until 2026-11-29 14:00 UTC: an outage" in str(route)

    def test_a_feature_without_one_has_none(self, patchbay: Patchbay) -> None:
        assert patchbay.explain("part").as_dict()["override"] is None

    def test_qos_tells_of_each_whether_it_is_in_force(self, patchbay: Patchbay) -> None:
        info = patchbay.get_qos_info()

        states = {override.id: override.state for override in info.overrides}
        assert states == {"o1": "in_force", "o2": "environment", "o3": "ignored", "o4": "in_force"}
        assert info.features["greet"].layer.startswith("override o1 until")

    def test_what_a_person_wrote_does_nothing_where_it_is_shown(self) -> None:
        made = Patchbay(table(Store(stored("greet", SOL, reason="\x1b[2Jgone\nline"))))

        assert r"\x1b[2Jgone\nline" in str(made.explain("greet", caller=HOUSE))
