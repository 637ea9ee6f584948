"""What a person changes by the console's forms: overrides and tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest

from backend.database.tokens import PREFIX
from backend.tests.fakes.html import read_page
from backend.tests.fakes.services import ANN

from .conftest import ADMIN, JSON, OURS

if TYPE_CHECKING:
    import httpx2
    from fastapi import FastAPI


class TestChanges:
    FORM: Final = "feature=conv_folder&links=gemini:gemini-3.5-flash-lite&hours=4&reason=an+outage"

    async def test_an_admin_lays_something_over_the_table_and_reverts_it(
        self, app: FastAPI, browser: httpx2.AsyncClient
    ) -> None:
        stored = await browser.post("/config/overrides", headers=ADMIN | OURS, content=self.FORM)
        assert (stored.status_code, stored.headers["location"]) == (303, "/config#overrides")

        (one,) = (await browser.get("/config", headers=ADMIN | JSON)).json()["overrides"]
        assert (one["subject"], one["author"], one["reason"]) == ("conv_folder", "admin", "an outage")
        serves = app.state.services.facade.explain("conv_folder").candidates
        assert [str(each.endpoint) for each in serves] == ["gemini:gemini-3.5-flash-lite"]

        reverted = await browser.post(f"/config/overrides/{one['id']}/revert", headers=ADMIN | OURS)
        told = (await browser.get("/config", headers=ADMIN | JSON)).json()
        assert (reverted.status_code, told["overrides"], len(told["past"])) == (303, [], 1)

    @pytest.mark.parametrize("path", ["/config/overrides", "/config/overrides/some/revert"])
    @pytest.mark.parametrize(
        "proof",
        [{}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "none"}, {"origin": "http://elsewhere"}],
        ids=str,
    )
    async def test_anothers_page_changes_nothing(
        self, path: str, proof: dict[str, str], browser: httpx2.AsyncClient
    ) -> None:
        response = await browser.post(path, headers=ADMIN | {"content-type": OURS["content-type"]} | proof)

        assert response.status_code == 403
        assert (await browser.get("/config", headers=ADMIN | JSON)).json()["overrides"] == []

    @pytest.mark.parametrize("path", ["/config/overrides", "/config/overrides/some/revert"])
    async def test_a_user_changes_nothing(self, path: str, browser: httpx2.AsyncClient) -> None:
        response = await browser.post(path, headers=ANN | OURS, content=self.FORM)
        assert response.status_code == 403

    @pytest.mark.parametrize(
        "form",
        [
            "",
            "feature=conv_folder&links=&hours=4&reason=x",
            "feature=conv_folder&links=openai:gpt-6-luna&hours=often&reason=x",
            "feature=conv_folder&links=openai:gpt-6-luna&hours=99999999999999&reason=x",
            "feature=conv_folder&links=openai:gpt-6-luna&hours=4&reason=",
            "feature=no_such&links=openai:gpt-6-luna&hours=4&reason=x",
            "&".join(f"a{number}=1" for number in range(200)),
            "%ff=%fe",
        ],
    )
    async def test_a_form_that_makes_no_sense_is_told_on_a_page(
        self, form: str, browser: httpx2.AsyncClient
    ) -> None:
        response = await browser.post("/config/overrides", headers=ADMIN | OURS, content=form)

        assert response.status_code == 422
        assert read_page(response.text).faults == []


class TestTokens:
    FORM: Final = "name=%3Cb%3Eci&user_id=ann&call=true&debug=true&rate=60/minute&usd=5.50&period=day&days=30"

    async def test_a_token_is_shown_once_and_revoked(self, browser: httpx2.AsyncClient) -> None:
        made = await browser.post("/tokens", headers=ADMIN | OURS, content=self.FORM)
        page = await browser.get("/tokens", headers=ADMIN)
        (one,) = (await browser.get("/tokens", headers=ADMIN | JSON)).json()["tokens"]

        assert (read_page(made.text).faults, read_page(page.text).faults) == ([], [])
        assert made.headers["cache-control"] == "no-store"
        assert (made.text.count(f">{PREFIX}"), page.text.count(f">{PREFIX}")) == (1, 0)
        assert (one["name"], one["user_id"], one["scopes"], one["rate"]) == (
            "<b>ci",
            "ann",
            ["call", "debug"],
            "60/minute",
        )
        assert one["budget"] == {"usd": "5.50", "period": "day"}

        revoked = await browser.post(f"/tokens/{one['id']}/revoke", headers=ADMIN | OURS)
        again = await browser.post(f"/tokens/{one['id']}/revoke", headers=ADMIN | OURS)
        assert (revoked.status_code, again.status_code) == (303, 404)
        assert (await browser.get("/tokens", headers=ADMIN | JSON)).json()["tokens"][0]["revoked_at"]

    @pytest.mark.parametrize(
        "form",
        [
            "",
            "name=ci&user_id=ann",
            "name=ci&user_id=ann&call=true&days=x",
            "name=ci&user_id=ann&call=true&usd=-1",
        ],
    )
    async def test_what_makes_no_sense_makes_no_token(self, form: str, browser: httpx2.AsyncClient) -> None:
        response = await browser.post("/tokens", headers=ADMIN | OURS, content=form)

        assert response.status_code == 422
        assert (await browser.get("/tokens", headers=ADMIN | JSON)).json()["tokens"] == []

    @pytest.mark.parametrize("headers", [ANN | OURS, ADMIN | {"content-type": OURS["content-type"]}])
    async def test_nobody_else_makes_one(self, headers: dict[str, str], browser: httpx2.AsyncClient) -> None:
        assert (await browser.post("/tokens", headers=headers, content=self.FORM)).status_code == 403


async def override_something(app: FastAPI, reason: str = "an outage") -> None:
    from backend.overrides import OverrideRequest

    overrides = app.state.services.overrides
    until = datetime.now(UTC) + timedelta(hours=2)
    for feature in ("conv_folder", "chat_agent"):
        await overrides.store_override(
            OverrideRequest(feature, ("openai:gpt-6.1-terra",), "ann", reason, until)
        )
    await overrides.apply_to_table()
    await overrides.revert_override(overrides.describe_active_overrides()[0].id, "bob")
    await overrides.apply_to_table()
