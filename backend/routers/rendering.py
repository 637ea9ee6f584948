"""Renders a view as an HTML page from its template, or as JSON."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic_core import to_json
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse
from typing_extensions import override

from backend.console import charts, wording
from backend.ledger.store import StoreAwayError
from backend.utils.llm.errors import LLMError

from .access import HOUSE_ADMIN, HOUSE_DEBUG, ROUTES, Row, allows
from .dependencies import UnauthenticatedError
from .errors import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from backend.access import Grant

CONSOLE: Final = Path(__file__).parents[1] / "console"
PRIVATE: Final = {"Cache-Control": "no-store", "Vary": "Accept, HX-Request, Cookie"}
_INDENTATION: Final = re.compile(r"(<(pre|textarea)\b.*?</\2>)|\n\s+", re.DOTALL)
_NO_PAGE: Final = (HTTPException, RequestValidationError, LLMError, SQLAlchemyError, StoreAwayError)


@dataclass(frozen=True, slots=True)
class MenuPage:
    """A page in the menu, shown to users who may use its route or have the rights of ``row``."""

    name: str
    path: str
    title: str
    row: Row | None = None

    def is_for(self, grant: Grant) -> bool:
        """Whether the holder of ``grant`` may see the page."""
        return allows(self.row or ROUTES[f"GET {self.path}"], grant)


MENU: Final = (
    MenuPage("now", "/", "Now", HOUSE_DEBUG),
    MenuPage("features", "/features", "Features"),
    MenuPage("explain", "/explain", "Explain"),
    MenuPage("requests", "/requests", "Requests"),
    MenuPage("spend", "/spend", "Spend"),
    MenuPage("config", "/config", "Config"),
    MenuPage("models", "/models", "Models"),
    MenuPage("agents", "/agents", "Agents"),
    MenuPage("conversations", "/conversations", "Conversations"),
    MenuPage("playground", "/playground", "Playground"),
    MenuPage("tokens", "/tokens", "Tokens"),
)


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(CONSOLE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = (wording.count, wording.short, wording.usd, wording.seconds, wording.percent, wording.span)
    moments = (wording.ago, wording.until, wording.moment, wording.minute, wording.number_of)
    made.filters.update({word.__name__: word for word in (*words, *moments)})
    made.globals.update(columns=charts.columns, spans=charts.spans)
    return made


_environment_of_pages: Final = _environment()


class Page(APIRoute):
    """A route for browsers: a login prompt, and every error, are shown as a page."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_or_tell(request: Request) -> Response:
            try:
                return await handle(request)
            except _NO_PAGE as error:
                if wants_json(request):
                    raise
                return await _told(request, error)

        return handle_or_tell


def is_on_call(grant: Grant) -> bool:
    """Whether the holder of ``grant`` may see how the whole service is doing, not only the holder's own data."""
    return allows(HOUSE_DEBUG, grant)


def may_change(grant: Grant | None) -> bool:
    """Whether the holder of ``grant`` may change the operator's configuration, such as overrides. False for None."""
    return grant is not None and allows(HOUSE_ADMIN, grant)


def wants_json(request: Request) -> bool:
    """Whether the client accepts JSON and not HTML, as programs do."""
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted


async def rendered(request: Request, name: str, view: object, *, user: str = "", **more: Any) -> Response:
    """Respond with ``view`` in the form the client asks for: the page ``name``, only its changing part for htmx, or JSON.

    Rendered in a thread, because a page may have a line for each of a thousand features.
    """
    if wants_json(request):
        body = await asyncio.to_thread(to_json, view, indent=2)
        return Response(body, media_type="application/json", headers=PRIVATE)
    return await page(request, name, view=view, user=user, **more)


async def page(
    request: Request, name: str, *, status: int = 200, headers: dict[str, str] | None = None, **context: Any
) -> Response:
    """Respond with the HTML page ``name``, rendered with ``context``."""
    html = await asyncio.to_thread(_laid_out, request, name, context)
    return HTMLResponse(html, status, headers=PRIVATE | (headers or {}))


def _laid_out(request: Request, name: str, context: dict[str, Any]) -> str:
    user = context.get("user", "")
    grant: Grant | None = getattr(request.state, "grant", None)
    menu = [place for place in MENU if grant and user and place.is_for(grant)]
    base = "fragment.html" if request.headers.get("hx-request") == "true" else "base.html"
    known = {"base": base, "name": name, "menu": menu, "user": user, "may_change": may_change(grant)}
    html = _environment_of_pages.get_template(f"{name}.html").render(known | context)
    return _INDENTATION.sub(lambda found: found[1] or "\n", html)  # a fifth of a page is how it is indented


async def _told(request: Request, error: Exception) -> Response:
    problem = describe(error)
    headers = dict(problem.headers or {})
    if isinstance(error, UnauthenticatedError):
        refused = request.url.path == "/login"
        return await page(request, "log_in", status=problem.status, headers=headers, refused=refused)
    user = getattr(getattr(request.state, "grant", None), "user_id", "")
    return await page(request, "problem", status=problem.status, headers=headers, problem=problem, user=user)
