"""The pages for people: where to start, and how to log in."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.routing import APIRoute
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from typing_extensions import override

from .dependencies import COOKIE, IdentityDep, ServicesDep, UnauthenticatedError
from .views import start_view

CONSOLE: Final = Path(__file__).parents[1] / "console"
STYLES: Final = CONSOLE / "static" / "console.css"

RECENT: Final = 20
"""How many conversations the start page shows."""

REMEMBERED: Final = 30 * 24 * 60 * 60
"""Seconds for which a browser stays logged in."""

_PRIVATE: Final = {"Cache-Control": "no-store"}

_templates: Final = Jinja2Templates(
    env=Environment(
        loader=FileSystemLoader(CONSOLE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
)


class Page(APIRoute):
    """A route for browsers: whoever is not logged in is told how to, on a page."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_or_ask_to_log_in(request: Request) -> Response:
            try:
                return await handle(request)
            except UnauthenticatedError as error:
                return _log_in_page(request, error)

        return handle_or_ask_to_log_in


router: Final = APIRouter(route_class=Page, default_response_class=Response, include_in_schema=False)


@router.get("/")
async def start(request: Request, identity: IdentityDep, services: ServicesDep) -> Response:
    """What runs on what, what has to be done, and what was processed lately."""
    recent = await services.conversations.page(identity.user_id, limit=RECENT)
    view = start_view(
        services.facade.get_qos_info(), services.local_model, recent, base_url=str(request.base_url)
    )
    return _templates.TemplateResponse(request, "start.html", {"view": view}, headers=_PRIVATE)


@router.get("/login")
async def login(
    request: Request, services: ServicesDep, token: Annotated[str, Query(max_length=500)] = ""
) -> Response:
    """Remember the token in a cookie that scripts and other sites cannot use, and go to the start page.

    Raises:
        UnauthenticatedError: If nobody was given the token.
    """
    if await services.tokens.find(token) is None:
        raise UnauthenticatedError
    response = RedirectResponse("/", status_code=303, headers=_PRIVATE)
    response.set_cookie(
        COOKIE,
        token,
        max_age=REMEMBERED,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return response


@router.get("/static/console.css")
async def styles() -> Response:
    """The one style sheet."""
    return FileResponse(STYLES, media_type="text/css", headers={"Cache-Control": "max-age=300"})


def _log_in_page(request: Request, error: UnauthenticatedError) -> Response:
    return _templates.TemplateResponse(
        request,
        "log_in.html",
        {"refused": request.url.path == "/login"},
        status_code=error.status_code,
        headers=_PRIVATE | dict(error.headers or {}),
    )
