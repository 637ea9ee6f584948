from __future__ import annotations

import dataclasses
import html
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import httpx2
import pytest
from fastapi import FastAPI

from backend.conversations.action_items import ActionItem
from backend.conversations.store import Conversation, FolderChoice
from backend.conversations.transcript import Segment, Transcript
from backend.routers import console, errors, pages
from backend.routers.headers import SecurityHeadersMiddleware
from backend.tests.fakes.services import ANN, FakeLocalModel, services
from backend.utils.llm import Patchbay, Table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

ADMIN = {"authorization": "Bearer token-of-admin"}
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
RECEIPT = {
    "endpoint": "gemini:gemini-3.5-flash-lite",
    "served_model": None,
    "attempts": [
        {"usage": None, "duration_ms": 100.4},
        {"usage": {"input": 312, "output": 41}, "duration_ms": 900.3},
    ],
}


@pytest.fixture
def app() -> FastAPI:
    made = FastAPI()
    made.add_middleware(SecurityHeadersMiddleware)
    errors.install_error_handlers(made)
    made.include_router(pages.router)
    made.include_router(console.router)
    made.state.services = services()
    provide(made, environ={})
    return made


@pytest.fixture
async def browser(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as client:
        yield client


def provide(app: FastAPI, *, environ: Mapping[str, str] | None = None, **given: Any) -> None:
    if environ is not None:
        given["facade"] = Patchbay(Table(environ=environ))
    app.state.services = dataclasses.replace(app.state.services, **given)


def conversation(**given: Any) -> Conversation:
    segments = [Segment(text="I send it by Friday.", start=0, end=2)]
    defaults = {
        "id": "c1",
        "user_id": "ann",
        "created_at": NOON,
        "started_at": NOON,
        "status": "completed",
        "transcript": Transcript(segments=segments, started_at=NOON),
    }
    return Conversation(**(defaults | given))


async def page(browser: httpx2.AsyncClient, path: str = "/conversations") -> str:
    response = await browser.get(path, headers=ADMIN if path == "/" else ANN)
    assert response.status_code == 200
    return re.sub(r"\s+", " ", html.unescape(response.text))


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer wrong"}, {"cookie": "patchbay_session_80=wrong"}]
)
async def test_visitors_are_shown_how_to_log_in(headers: dict[str, str], browser: httpx2.AsyncClient) -> None:
    response = await browser.get("/", headers=headers)
    assert response.status_code == 401
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert "/login?token=" in response.text


class TestLogin:
    LINK: Final = "/login?token=token-of-ann"
    OPENED: Final = {"sec-fetch-site": "none"}
    OWN: Final = {"sec-fetch-site": "same-origin"}
    BOB: Final = {"cookie": "patchbay_session_80=session-of-bob"}

    async def test_a_link_that_a_person_opens_logs_in_at_once(self, browser: httpx2.AsyncClient) -> None:
        response = await browser.get(self.LINK, headers=self.OPENED)

        assert (response.status_code, response.headers["location"]) == (303, "/")
        cookie = response.headers["set-cookie"]
        assert cookie.startswith("patchbay_session_80=")
        assert "token-of-ann" not in cookie
        assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
        assert "Secure" not in cookie
        assert (await browser.get("/conversations")).status_code == 200

    @pytest.mark.parametrize("site", ["cross-site", "same-site", "same-origin", None])
    async def test_one_that_another_page_leads_to_asks_first(
        self, site: str | None, browser: httpx2.AsyncClient
    ) -> None:
        response = await browser.get(self.LINK, headers={"sec-fetch-site": site} if site else {})

        assert response.status_code == 200
        assert "set-cookie" not in response.headers
        assert "Log in as ann?" in response.text
        assert "token-of-ann" not in response.text

    async def test_one_for_another_user_asks_first_and_names_both(self, browser: httpx2.AsyncClient) -> None:
        response = await browser.get(self.LINK, headers=self.OPENED | self.BOB)

        assert "set-cookie" not in response.headers
        assert "Log in as ann?" in response.text
        assert "You are logged in as bob here." in response.text

    @pytest.mark.parametrize("proof", [OWN, {"origin": "http://test"}], ids=str)
    async def test_confirming_on_our_page_logs_in(
        self, proof: dict[str, str], browser: httpx2.AsyncClient
    ) -> None:
        response = await browser.post(self.LINK, headers=proof)

        assert response.status_code == 303
        assert (await browser.get("/conversations")).status_code == 200

    @pytest.mark.parametrize("path", [LINK, "/logout"])
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"origin": "null"},
            {"origin": "http://elsewhere"},
            {"origin": "http://test:3000"},
            {"origin": "https://test"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site", "origin": "http://test"},
            {"sec-fetch-site": "none"},
        ],
        ids=str,
    )
    async def test_anothers_page_can_neither_log_in_nor_out(
        self, path: str, headers: dict[str, str], browser: httpx2.AsyncClient
    ) -> None:
        response = await browser.post(path, headers=headers | self.BOB)

        assert response.status_code == 403
        assert "set-cookie" not in response.headers
        assert (await browser.get("/conversations", headers=self.BOB)).status_code == 200

    async def test_a_session_that_was_there_is_not_taken_on(self, browser: httpx2.AsyncClient) -> None:
        planted = {"cookie": "patchbay_session_80=planted-by-mallory"}

        response = await browser.post(self.LINK, headers=self.OWN | planted)

        assert "planted-by-mallory" not in response.headers["set-cookie"]
        assert (await browser.get("/conversations", headers=planted)).status_code == 401

    async def test_the_session_before_ends(self, browser: httpx2.AsyncClient) -> None:
        await browser.post(self.LINK, headers=self.OWN | self.BOB)

        assert (await browser.get("/conversations", headers=self.BOB)).status_code == 401

    async def test_logging_out_ends_the_session_here_and_in_the_browser(
        self, browser: httpx2.AsyncClient
    ) -> None:
        response = await browser.post("/logout", headers=self.OWN | self.BOB)

        assert (response.status_code, response.headers["location"]) == (303, "/")
        assert 'patchbay_session_80=""' in response.headers["set-cookie"]
        assert "Max-Age=0" in response.headers["set-cookie"]
        assert (await browser.get("/conversations", headers=self.BOB)).status_code == 401

    async def test_the_start_page_has_the_button(self, browser: httpx2.AsyncClient) -> None:
        assert (
            '<form method="post" action="/logout"'
            in (await browser.get("/conversations", headers=self.BOB)).text
        )

    async def test_pages_with_buttons_let_a_browser_send_its_origin(
        self, browser: httpx2.AsyncClient
    ) -> None:
        """Under no-referrer it sends ``Origin: null`` with our own forms."""
        for response in [await browser.get("/conversations", headers=self.BOB), await browser.get(self.LINK)]:
            assert '<meta name="referrer" content="same-origin">' in response.text

    @pytest.mark.parametrize(
        ("url", "name"),
        [
            ("http://test:8001", "patchbay_session_8001"),
            ("http://[::1]:9", "patchbay_session_9"),
            ("https://test", "__Host-patchbay_session_443"),
            ("https://test:8443", "__Host-patchbay_session_8443"),
        ],
    )
    async def test_each_port_has_a_cookie_of_its_own_which_stays_on_tls(
        self, url: str, name: str, app: FastAPI
    ) -> None:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=url) as browser:
            response = await browser.get(self.LINK, headers=self.OPENED)
            cookie = response.headers["set-cookie"]
            again = await browser.get("/conversations", headers={"cookie": cookie.partition(";")[0]})

        assert cookie.startswith(f"{name}=")
        assert ("Secure" in cookie.split("; ")) is url.startswith("https")
        assert "domain" not in cookie.lower()
        assert again.status_code == 200

    @pytest.mark.parametrize("host", ["test:", "test:port", "", "test:999999999"])
    async def test_a_host_that_makes_no_sense_is_no_fault_of_ours(
        self, host: str, browser: httpx2.AsyncClient
    ) -> None:
        assert (await browser.get(self.LINK, headers=self.OPENED | {"host": host})).status_code == 303


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong"])
async def test_a_wrong_link_sets_no_cookie(query: str, browser: httpx2.AsyncClient) -> None:
    response = await browser.get(f"/login{query}")
    assert response.status_code == 401
    assert "set-cookie" not in response.headers
    assert "does not let you in" in response.text
    assert "wrong<" not in response.text


async def test_pages_are_not_cached_and_load_nothing_from_elsewhere(browser: httpx2.AsyncClient) -> None:
    for response in [
        await browser.get("/conversations", headers=ANN),
        await browser.get("/", headers=ADMIN),
        await browser.get("/"),
        await browser.get("/login"),
    ]:
        assert response.headers["cache-control"] == "no-store"
        assert "default-src 'none'; script-src 'self'" in response.headers["content-security-policy"]
        assert re.findall(r"<script>|<style|style=|(?:src|href)=\"(?![/#])", response.text) == []


async def test_who_made_the_parts_of_a_conversation_is_shown_with_its_tasks(
    app: FastAPI, browser: httpx2.AsyncClient
) -> None:
    by = {"title": "extract", "overview": "extract", "action_items": "openai:gpt-6-luna"}
    tasks = (ActionItem(description="send it by Friday", owner="Ann <b>"),)
    await app.state.services.conversations.add(conversation(title="it", made_by=by, action_items=tasks))

    shown = await page(browser)

    assert "<li>Ann <b>: send it by Friday</li>" in shown
    assert "Cut from the transcript, not written by a model: title, overview." in shown


async def test_the_styles_are_open(browser: httpx2.AsyncClient) -> None:
    response = await browser.get("/static/console.css")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert "prefers-color-scheme: dark" in response.text


async def test_the_demo_is_announced_with_what_ends_it(app: FastAPI, browser: httpx2.AsyncClient) -> None:
    provide(app, local_model=FakeLocalModel())
    text = await page(browser, "/")
    assert "every feature is served by a demo model" in text
    assert text.index('id="demo"') < text.index('id="resting"')
    assert all(host in text for host in ["api.openai.com", "openrouter.ai"])


async def test_with_a_key_there_is_no_demo(app: FastAPI, browser: httpx2.AsyncClient) -> None:
    provide(app, environ={"OPENAI_API_KEY": "sk-of-the-house"})
    text = await page(browser, "/")
    assert 'id="demo"' not in text
    assert "sk-of-the-house" not in text


async def test_a_failed_local_model_says_why(app: FastAPI, browser: httpx2.AsyncClient) -> None:
    assert 'id="local-model"' not in await page(browser, "/")
    provide(app, local_model=FakeLocalModel(state="failed", reason="No <file> there."))
    text = await page(browser, "/")
    assert '<span class="badge failed">failed</span>' in text
    assert "No <file> there." in text


async def test_problems_of_the_table_are_shown(app: FastAPI, browser: httpx2.AsyncClient) -> None:
    assert 'id="problems"' not in await page(browser, "/")
    qos = app.state.services.facade.get_qos_info()

    class Troubled(type(app.state.services.facade)):  # type: ignore[misc]
        def get_qos_info(self) -> Any:
            return qos.model_copy(update={"problems": ("profiles.premium: no such group 'lite'",)})

    provide(app, facade=Troubled(Table(environ={})))
    assert "no such group 'lite'" in await page(browser, "/")


async def test_a_page_says_that_nothing_rests(browser: httpx2.AsyncClient) -> None:
    assert "No endpoint and no key is left alone." in await page(browser, "/")


async def test_conversations_stand_with_their_receipts(app: FastAPI, browser: httpx2.AsyncClient) -> None:
    filing = FolderChoice(folder_id="work", confidence=1, reasoning="", validation_status="accepted")
    await app.state.services.conversations.add(
        conversation(
            title="The contract",
            category="finance",
            folder=filing,
            status="partial",
            errors={"conv_discard": "timed_out"},
            receipts={"conv_folder": RECEIPT},
        )
    )
    text = await page(browser)
    assert 'The contract <span class="badge partial">partial</span>' in text
    assert "21 Nov 2026, 12:00 UTC" in text
    assert "· finance" in text
    assert "folder Work" in text
    assert "<code>conv_discard</code> failed: timed_out" in text
    cells = re.findall(r"<td[^>]*>(.*?)</td>", text.split("<details>")[1].split("</details>")[0])
    assert cells == ["gemini:gemini-3.5-flash-lite", "unknown", "2", "312", "41", "1001"]


async def test_what_models_and_people_wrote_is_text(app: FastAPI, browser: httpx2.AsyncClient) -> None:
    await app.state.services.conversations.add(conversation(title="<img src=x onerror=alert(1)>"))
    response = await browser.get("/conversations", headers=ANN)
    assert "<img src=x" not in response.text


async def test_conversations_of_other_users_are_not_shown(app: FastAPI, browser: httpx2.AsyncClient) -> None:
    await app.state.services.conversations.add(conversation(user_id="bob", title="Secret"))
    text = await page(browser)
    assert "Secret" not in text
    assert "None yet." in text


async def test_older_ones_are_pointed_to(app: FastAPI, browser: httpx2.AsyncClient) -> None:
    for number in range(console.RECENT + 1):
        await app.state.services.conversations.add(conversation(id=str(number), title=f"Talk {number}"))
    text = await page(browser)
    assert text.count("<article>") == console.RECENT
    assert "GET /v1/conversations" in text


async def test_the_example_is_a_request_that_the_service_takes(browser: httpx2.AsyncClient) -> None:
    response = await browser.get("/conversations", headers=ANN)
    command = html.unescape(response.text.split('<pre tabindex="0" data-copy><code>')[1].split("</code>")[0])
    body = command.split("-d '")[1].removesuffix("'")
    assert command.startswith("curl http://test/v1/conversations ")
    assert Transcript.model_validate_json(body).segments[0].speaker == "Ann"
