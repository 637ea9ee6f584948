"""The pages for people: where to start, and how to log in."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.routing import APIRoute
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from typing_extensions import override

from backend.conversations.store import Page as Recent

from .dependencies import IdentityDep, Services, ServicesDep, UnauthenticatedError, session_of
from .logins import TokenOwner, forget, held, is_own_form, is_typed_in, remember
from .origins import base_url
from .views import start_view

CONSOLE: Final = Path(__file__).parents[1] / "console"
STYLES: Final = CONSOLE / "static" / "console.css"

RECENT: Final = 20
"""How many conversations the start page shows."""

Token = Annotated[str, Query(max_length=500)]
"""The same in the address of the link and of its form, so that the page does not hold it once more."""

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
    """The first page: what runs on what, what has to be done, and what was processed lately."""
    recent = await services.conversations.page(identity.user_id, limit=RECENT)
    return await asyncio.to_thread(_start_page, request, services, recent)


def _start_page(request: Request, services: Services, recent: Recent) -> Response:
    """It has a line for each feature, of which there may be a thousand: so it is laid out beside the event loop."""
    qos = services.facade.get_qos_info()
    view = start_view(qos, services.local_model, recent, base_url=base_url(request))
    return _templates.TemplateResponse(request, "start.html", {"view": view}, headers=_PRIVATE)


@router.get("/login")
async def login(request: Request, services: ServicesDep, token: Token = "") -> Response:
    """Log in who opened the link themselves. Who was led here by another site, or would change users, is asked first.

    Raises:
        UnauthenticatedError: If nobody was given the token.
    """
    owner = await _owner(services, token)
    before = await session_of(request, services)
    if is_typed_in(request) and (before is None or before.user_id == owner.user_id):
        return await _logged_in(request, services, owner)
    names = {"user": owner.user_id, "held": before and before.user_id}
    return _templates.TemplateResponse(request, "confirm.html", names, headers=_PRIVATE)


@router.post("/login")
async def confirm(request: Request, services: ServicesDep, token: Token = "") -> Response:
    """Log in who said yes, on our page.

    Raises:
        HTTPException: If the browser does not vouch that it was our page.
        UnauthenticatedError: If nobody was given the token.
    """
    _want_our_page(request)
    return await _logged_in(request, services, await _owner(services, token))


@router.post("/logout")
async def log_out(request: Request, services: ServicesDep) -> Response:
    """End the session, here and in the browser.

    Raises:
        HTTPException: If the browser does not vouch that it was our page.
    """
    _want_our_page(request)
    await services.sessions.end(held(request) or "")
    response = RedirectResponse("/", status_code=303, headers=_PRIVATE)
    forget(request, response)
    return response


@router.get("/static/console.css")
async def styles() -> Response:
    """The one style sheet."""
    return FileResponse(STYLES, media_type="text/css", headers={"Cache-Control": "max-age=300"})


async def _owner(services: Services, token: str) -> TokenOwner:
    if (owner := await services.tokens.find(token)) is None:
        raise UnauthenticatedError
    return owner


async def _logged_in(request: Request, services: Services, owner: TokenOwner) -> Response:
    """A session that is new, whatever the browser brought along, which ends."""
    await services.sessions.end(held(request) or "")
    response = RedirectResponse("/", status_code=303, headers=_PRIVATE)
    remember(request, response, await services.sessions.open(owner.user_id, owner.id))
    return response


def _want_our_page(request: Request) -> None:
    if not is_own_form(request):
        raise HTTPException(403, "Only a page of the console itself may ask for this.")


def _log_in_page(request: Request, error: UnauthenticatedError) -> Response:
    return _templates.TemplateResponse(
        request,
        "log_in.html",
        {"refused": request.url.path == "/login"},
        status_code=error.status_code,
        headers=_PRIVATE | dict(error.headers or {}),
    )
