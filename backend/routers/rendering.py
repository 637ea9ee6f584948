"""Renders the data of a page as HTML, from the page's template, or as JSON."""

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
from backend.ledger.store import StoreUnreachableError
from backend.utils.llm.errors import LLMError

from .access import HOUSE_ADMIN, HOUSE_DEBUG, ROUTES, RouteAccess, can_use_route
from .dependencies import UnauthenticatedError
from .errors import describe_error

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from backend.access import Grant

CONSOLE: Final = Path(__file__).parents[1] / "console"
PRIVATE: Final = {"Cache-Control": "no-store", "Vary": "Accept, HX-Request, Cookie"}
_INDENTATION: Final = re.compile(r"(<(pre|textarea)\b.*?</\2>)|\n\s+", re.DOTALL)
_NO_PAGE: Final = (HTTPException, RequestValidationError, LLMError, SQLAlchemyError, StoreUnreachableError)


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """An entry of the console's menu, shown to users who may open its page.

    Attributes:
        name: The name of the page and of its template.
        path: The path of the page.
        title: The text of the entry.
        row: The access rule that decides who sees the entry; by default the rule of the page's route.
    """

    name: str
    path: str
    title: str
    row: RouteAccess | None = None

    def is_visible_to(self, grant: Grant) -> bool:
        """Whether a user with the rights ``grant`` sees this entry in the menu."""
        return can_use_route(self.row or ROUTES[f"GET {self.path}"], grant)


MENU: Final = (
    MenuEntry("now", "/", "Now", HOUSE_DEBUG),
    MenuEntry("features", "/features", "Features"),
    MenuEntry("explain", "/explain", "Explain"),
    MenuEntry("requests", "/requests", "Requests"),
    MenuEntry("spend", "/spend", "Spend"),
    MenuEntry("config", "/config", "Config"),
    MenuEntry("models", "/models", "Models"),
    MenuEntry("agents", "/agents", "Agents"),
    MenuEntry("conversations", "/conversations", "Conversations"),
    MenuEntry("playground", "/playground", "Playground"),
    MenuEntry("tokens", "/tokens", "Tokens"),
)


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(CONSOLE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        count=wording.format_count,
        short=wording.format_short_count,
        usd=wording.format_usd,
        seconds=wording.format_seconds,
        percent=wording.format_percent,
        span=wording.format_timespan,
        ago=wording.format_time_ago,
        until=wording.format_time_until,
        moment=wording.format_utc_second,
        minute=wording.format_utc_minute,
        format_quantity=wording.format_quantity,
    )
    made.globals.update(columns=charts.make_column_chart, spans=charts.make_timeline_bars)
    return made


_environment_of_pages: Final = _environment()


class PageRoute(APIRoute):
    """A FastAPI route class for pages: it shows errors as a page, and a login page if a login is needed.

    Clients that accept only JSON get errors as JSON.
    """

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_or_tell(request: Request) -> Response:
            try:
                return await handle(request)
            except _NO_PAGE as error:
                if wants_json(request):
                    raise
                return await _error_page(request, error)

        return handle_or_tell


def can_see_whole_service(grant: Grant) -> bool:
    """Whether the holder of ``grant`` may see the state and usage of the whole service, not only own data."""
    return can_use_route(HOUSE_DEBUG, grant)


def can_change_config(grant: Grant | None) -> bool:
    """Whether the holder of ``grant`` may change the operator's configuration, for example by overrides.

    False for None.
    """
    return grant is not None and can_use_route(HOUSE_ADMIN, grant)


def wants_json(request: Request) -> bool:
    """Whether the ``Accept`` header of ``request`` has JSON but not HTML, as programs send it."""
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted


async def render_page_or_json(
    request: Request, name: str, view: object, *, user: str = "", **template_variables: Any
) -> Response:
    """Respond with the data ``view`` in the form that the client asks for: a page, a part of one, or JSON.

    Args:
        request: The client's request.
        name: The name of the page's template.
        view: The data of the page.
        user: The user who is logged in; empty for nobody.
        template_variables: Further variables of the template. JSON does not contain them.
    """
    if wants_json(request):
        body = await asyncio.to_thread(to_json, view, indent=2)
        return Response(body, media_type="application/json", headers=PRIVATE)
    return await render_page(request, name, view=view, user=user, **template_variables)


async def render_page(
    request: Request, name: str, *, status: int = 200, headers: dict[str, str] | None = None, **context: Any
) -> Response:
    """Respond with the HTML page of the template ``name``, rendered in a thread with the variables ``context``."""
    html = await asyncio.to_thread(_laid_out, request, name, context)
    return HTMLResponse(html, status, headers=PRIVATE | (headers or {}))


def _laid_out(request: Request, name: str, context: dict[str, Any]) -> str:
    user = context.get("user", "")
    grant: Grant | None = getattr(request.state, "grant", None)
    menu = [place for place in MENU if grant and user and place.is_visible_to(grant)]
    base = "fragment.html" if request.headers.get("hx-request") == "true" else "base.html"
    known = {
        "base": base,
        "name": name,
        "menu": menu,
        "user": user,
        "can_change_config": can_change_config(grant),
    }
    html = _environment_of_pages.get_template(f"{name}.html").render(known | context)
    return _INDENTATION.sub(lambda found: found[1] or "\n", html)  # a fifth of a page is how it is indented


async def _error_page(request: Request, error: Exception) -> Response:
    problem = describe_error(error)
    headers = dict(problem.headers or {})
    if isinstance(error, UnauthenticatedError):
        refused = request.url.path == "/login"
        return await render_page(request, "log_in", status=problem.status, headers=headers, refused=refused)
    user = getattr(getattr(request.state, "grant", None), "user_id", "")
    return await render_page(
        request, "problem", status=problem.status, headers=headers, problem=problem, user=user
    )
