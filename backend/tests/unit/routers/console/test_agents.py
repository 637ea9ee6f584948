"""Runs of agents, and what they ask of a person, on the console's pages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from backend.access import DataOwner
from backend.agents.gate import ApprovalDecision
from backend.agents.tools import tool
from backend.tests.fakes.agents import Effects, World, wants
from backend.tests.fakes.html import read_page
from backend.tests.fakes.services import ANN, BOB

from .conftest import ADMIN, HOSTILE, JSON, OURS, provide

if TYPE_CHECKING:
    import httpx2
    from fastapi import FastAPI


class TestAgents:
    USER: Final = DataOwner("ann")

    @pytest.fixture
    async def world(self, app: FastAPI) -> World:
        """An agent that wants to write a note down, for Ann."""
        asking = tool(Effects().note, policy="ask", risk="dangerous")
        made = World([wants(("note", {"text": HOSTILE})), "It is done."], tools=[asking])
        provide(app, agents=made.runner)
        await made.say(HOSTILE, owner=self.USER)
        return made

    async def test_what_waits_stands_with_all_that_would_be_done_as_text(
        self, world: World, browser: httpx2.AsyncClient
    ) -> None:
        response = await browser.get("/agents", headers=ANN)
        told = (await browser.get("/agents", headers=ANN | JSON)).json()

        assert read_page(response.text).faults == []
        assert "hidden characters" in response.text
        assert [(one["tool"], one["state"]) for one in told["pending"]] == [("note", "pending")]
        assert [(one["agent"], one["state"], one["turns"]) for one in told["runs"]] == [
            ("clerk", "awaiting", 1)
        ]

    async def test_what_is_cut_can_be_approved_where_all_of_it_is_shown(
        self, app: FastAPI, browser: httpx2.AsyncClient
    ) -> None:
        text = "x" * 3_000
        world = World([wants(("note", {"text": text})), "Done."], tools=[tool(Effects().note)])
        provide(app, agents=world.runner)
        await world.say(owner=self.USER)
        (one,) = await world.pending(self.USER)

        cut = await browser.get("/agents", headers=ANN)
        uncut = await browser.get(f"/agents?whole={one.id}", headers=ANN)

        assert (one.digest in cut.text, 'value="approve"' in cut.text) == (False, False)
        assert (one.digest in uncut.text, 'value="approve"' in uncut.text, text in uncut.text) == (
            True,
            True,
            True,
        )
        assert read_page(cut.text).faults == read_page(uncut.text).faults == []

    async def test_nobody_is_shown_anothers(self, world: World, browser: httpx2.AsyncClient) -> None:
        for headers in (BOB, ADMIN):
            told = (await browser.get("/agents", headers=headers | JSON)).json()
            assert (told["pending"], told["runs"]) == ([], [])

    async def test_a_yes_runs_what_was_shown_once(self, world: World, browser: httpx2.AsyncClient) -> None:
        (one,) = await world.pending(self.USER)
        path, form = f"/agents/confirmations/{one.id}", f"decision=approve&digest={one.digest}"

        first = await browser.post(path, headers=ANN | OURS, content=form)
        again = await browser.post(path, headers=ANN | OURS, content=form)

        assert (first.status_code, first.headers["location"]) == (303, "/agents")
        assert again.status_code == 409
        assert (await browser.get("/agents", headers=ANN | JSON)).json()["runs"][0]["state"] == "done"

    async def test_what_may_have_run_runs_again_for_who_was_shown_so_alone(
        self, world: World, browser: httpx2.AsyncClient
    ) -> None:
        """A form of before, sent once more, is a yes to the first time and to no other."""
        (one,) = await world.pending(self.USER)
        path, old = f"/agents/confirmations/{one.id}", f"decision=approve&digest={one.digest}"

        async def statuses_of(*forms: str) -> list[int]:
            return [
                (await browser.post(path, headers=ANN | OURS, content=form)).status_code for form in forms
            ]

        async def is_left_running(*, again: bool) -> str:
            """Have it run by a process that ends, and return the form that the page has then."""
            await world.gate.claim_confirmation(ApprovalDecision(self.USER, one.id, one.digest, again))
            world.pass_by(60)
            page = (await browser.get("/agents", headers=ANN)).text
            found = re.search(r'name="again" value="(\d+)"', page)
            assert found
            return f"{old}&again={found[1]}"

        first = await is_left_running(again=False)
        assert await statuses_of(old, f"{old}&again=", f"{old}&again=true") == [409] * 3
        second = await is_left_running(again=True)
        assert await statuses_of(old, first) == [409] * 2
        assert world.results() == []

        assert await statuses_of(second, second) == [303, 409]

    async def test_a_no_runs_nothing(self, world: World, browser: httpx2.AsyncClient) -> None:
        (one,) = await world.pending(self.USER)

        form = f"decision=reject&digest={one.digest}&reason=not+today"
        await browser.post(f"/agents/confirmations/{one.id}", headers=ANN | OURS, content=form)

        assert "not today" in world.results()[0]

    @pytest.mark.parametrize(
        ("headers", "form", "status"),
        [
            (BOB | OURS, "decision=approve&digest={}", 404),
            (ANN | OURS, "decision=approve&digest=of-something-else", 409),
            (ANN | {"content-type": OURS["content-type"]}, "decision=approve&digest={}", 403),
        ],
    )
    async def test_nothing_else_runs(
        self, headers: dict[str, str], form: str, status: int, world: World, browser: httpx2.AsyncClient
    ) -> None:
        (one,) = await world.pending(self.USER)
        path = f"/agents/confirmations/{one.id}"

        response = await browser.post(path, headers=headers, content=form.format(one.digest))

        assert response.status_code == status
        assert [each.state for each in await world.pending(self.USER)] == ["pending"]
