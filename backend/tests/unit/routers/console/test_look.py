"""How pages look: contrast, weight, and what they load."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from backend.routers import pages
from backend.routers.rendering import CONSOLE

from .conftest import ADMIN, VIEWS, happen
from .test_views import many

if TYPE_CHECKING:
    import httpx2
    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine


class TestLook:
    STYLES: Final = (CONSOLE / "static" / "console.css").read_text()

    @pytest.mark.parametrize("name", pages.STATIC)
    async def test_what_pages_load_is_there(self, name: str, browser: httpx2.AsyncClient) -> None:
        response = await browser.get(f"/static/{name}")

        assert response.status_code == 200
        assert response.headers["content-type"].startswith(pages.STATIC[name])

    @pytest.mark.parametrize("name", ["nothing.css", "..%2Fconsole.css", "../views/now.py"])
    async def test_nothing_else_is(self, name: str, browser: httpx2.AsyncClient) -> None:
        assert (await browser.get(f"/static/{name}")).status_code == 404

    async def test_scripts_come_from_us_alone_and_nothing_is_evaluated(
        self, browser: httpx2.AsyncClient
    ) -> None:
        policy = (await browser.get("/", headers=ADMIN)).headers["content-security-policy"]

        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        own = (CONSOLE / "static" / "console.js").read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(", own
        )

    async def test_a_page_weighs_less_than_a_hundred_kilobytes_with_all_that_it_loads(
        self, app: FastAPI, engine: AsyncEngine, browser: httpx2.AsyncClient
    ) -> None:
        await happen(app, engine, many())
        loaded = sum((CONSOLE / "static" / name).stat().st_size for name in pages.STATIC)

        sizes = {path: len((await browser.get(path, headers=ADMIN)).content) + loaded for path in VIEWS}

        assert max(sizes.values()) < 100_000, sizes

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize(
        ("ink", "paper"),
        [
            *((ink, paper) for ink in ("ink", "quiet", "accent") for paper in ("paper", "surface")),
            *((word, f"{word}-paper") for word in ("accent", "good", "warn", "bad")),
            *((word, paper) for word in ("bad", "warn", "good") for paper in ("paper", "surface")),
        ],
    )
    def test_words_stand_out(self, scheme: str, ink: str, paper: str) -> None:
        light, dark = self.STYLES.split("prefers-color-scheme: dark", 1)
        colours = dict(re.findall(r"--([\w-]+): (#\w+)", light))
        if scheme == "dark":
            colours |= dict(re.findall(r"--([\w-]+): (#\w+)", dark))

        assert contrast(colours[ink], colours[paper]) >= 4.5


def contrast(one: str, other: str) -> float:
    """As WCAG 2 reckons it."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * sign for sign in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
