"""What goes off sale, whom it concerns, and how it is told."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from backend.tools.retirements import make_retirement_headline
from backend.utils.llm.diagnostics.retirements import find_next_retirement, list_retirement_impacts
from backend.utils.llm.model_config import Table, TableSnapshot, parse_table
from backend.utils.llm.patchbay import Patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

from .tables import PROVIDERS

TODAY = date(2026, 11, 21)
TABLE = f"""
demo = "local:smollm2-135m-instruct"

{PROVIDERS}
[providers.local]
api = "openai"

[profiles.premium]
chat = ["openai:gpt-6-luna", "openai:gpt-4o", "gemini:gemini-2.5-pro"]
folder = "group:light"
title = "openai:gpt-6-luna"

[profiles.byok]
extends = "premium"
title = "openai:gpt-5.1"

[groups.light]
endpoints = ["openai:gpt-6-luna", "openai:gpt-4o"]
"""


@pytest.fixture
def snapshot() -> TableSnapshot:
    return parse_table(TABLE, environ={"OPENAI_API_KEY": "k"})


class TestRetiring:
    def test_it_names_every_endpoint_that_goes_the_nearest_first(self, snapshot: TableSnapshot) -> None:
        assert [impact.endpoint for impact in list_retirement_impacts(snapshot, TODAY)] == [
            "gemini:gemini-2.5-pro",
            "openai:gpt-4o",
            "openai:gpt-5.1",
        ]

    def test_it_names_the_day_what_is_left_and_the_heir(self, snapshot: TableSnapshot) -> None:
        one = list_retirement_impacts(snapshot, TODAY)[1]

        assert (one.day, one.days, one.replacement) == (date(2027, 1, 14), 54, "gpt-6-luna")

    def test_it_names_the_features_concerned(self, snapshot: TableSnapshot) -> None:
        concerned = {
            impact.endpoint: (impact.features, impact.profiles)
            for impact in list_retirement_impacts(snapshot, TODAY)
        }

        assert concerned["openai:gpt-4o"] == (("chat", "folder"), ("byok", "premium"))
        assert concerned["openai:gpt-5.1"] == (("title",), ("byok",))

    def test_a_demo_concerns_no_feature(self) -> None:
        snapshot = parse_table(TABLE.replace("local:smollm2-135m-instruct", "openai:gpt-4.1"), environ={})

        assert [
            impact.features
            for impact in list_retirement_impacts(snapshot, TODAY)
            if impact.endpoint == "openai:gpt-4.1"
        ] == [()]

    def test_the_nearest_of_a_chain_is_the_first_to_go(self, snapshot: TableSnapshot) -> None:
        found = find_next_retirement(snapshot.chain("chat", "premium"), TODAY)

        assert found is not None
        assert found.endpoint == "gemini:gemini-2.5-pro"

    def test_a_chain_of_models_that_stay_has_none(self, snapshot: TableSnapshot) -> None:
        assert find_next_retirement(snapshot.chain("title", "premium"), TODAY) is None

    def test_days_to_shutdown_are_negative_once_they_are_over(self, snapshot: TableSnapshot) -> None:
        assert {
            impact.endpoint: impact.days for impact in list_retirement_impacts(snapshot, date(2026, 12, 2))
        } == {
            "gemini:gemini-2.5-pro": -1,
            "openai:gpt-4o": 43,
            "openai:gpt-5.1": 120,
        }


class TestHeadline:
    def test_one_line_names_every_feature_that_is_concerned_and_the_first_model(
        self, snapshot: TableSnapshot
    ) -> None:
        assert make_retirement_headline(list_retirement_impacts(snapshot, TODAY)) == (
            "Off sale within 90 days, or already: models of chat, folder. First gemini:gemini-2.5-pro on 2026-12-01, "
            "in 10 days. Its vendor names gemini-3.8-flash instead. `python -m backend check` lists all."
        )

    @pytest.mark.parametrize(
        ("today", "distance"),
        [
            (date(2026, 11, 30), "in 1 day."),
            (date(2026, 12, 1), "today."),
            (date(2026, 12, 2), "1 day ago."),
        ],
    )
    def test_the_distance_is_in_words(self, snapshot: TableSnapshot, today: date, distance: str) -> None:
        assert f"on 2026-12-01, {distance}" in str(
            make_retirement_headline(list_retirement_impacts(snapshot, today))
        )

    def test_what_is_further_off_is_not_listed(self, snapshot: TableSnapshot) -> None:
        assert (
            make_retirement_headline(list_retirement_impacts(snapshot, TODAY), within=timedelta(days=9))
            is None
        )


class TestQos:
    """The document tells it too."""

    @pytest.fixture
    def patchbay(self) -> Patchbay:
        table = Table(text=TABLE, environ={"OPENAI_API_KEY": "k"})
        return Patchbay(table, time=VirtualTime().time)

    def test_of_each_feature_the_nearest_in_its_chain_whether_it_may_serve_or_not(
        self, patchbay: Patchbay
    ) -> None:
        told = patchbay.get_qos_info().model_dump(mode="json")["features"]

        assert told["title"]["retires"] is None
        assert told["chat"]["chain"] == ["openai:gpt-6-luna", "openai:gpt-4o"]
        assert told["chat"]["retires"] == {
            "endpoint": "gemini:gemini-2.5-pro",
            "day": "2026-12-01",
            "days": 10,
            "replacement": "gemini-3.8-flash",
        }

    def test_of_the_table_all_of_them(self, patchbay: Patchbay) -> None:
        told = patchbay.get_qos_info()

        assert told.schema_version == 3
        assert told.retirements == list_retirement_impacts(patchbay.table.snapshot, TODAY)
