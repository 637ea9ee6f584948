"""Login and logout of browsers, and the static files of pages."""

import asyncio
from functools import cache
from typing import Annotated, Final

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse

from backend.access import Grant

from .dependencies import Services, ServicesDep, UnauthenticatedError, session_of
from .forms import want_our_page
from .logins import cookie_value, delete_cookie, is_direct_navigation, set_cookie
from .rendering import CONSOLE, PRIVATE, Page, page

STATIC: Final = {
    "console.css": "text/css",
    "console.js": "text/javascript",
    "htmx-4.0.1.min.js": "text/javascript",
    "mark.svg": "image/svg+xml",
}
"""The static files, with their media types."""

Token = Annotated[str, Query(max_length=500)]
"""The token in the address of the link and of its form, so that the page does not repeat it."""

router: Final = APIRouter(route_class=Page, default_response_class=Response, include_in_schema=False)


@router.get("/login")
async def login(request: Request, services: ServicesDep, token: Token = "") -> Response:
    """Log in by an opened link. A visitor from another site, or one who would change users, must confirm first.

    Raises:
        UnauthenticatedError: The token is unknown.
    """
    grant = await _grant(services, token)
    before = await session_of(request, services)
    if is_direct_navigation(request) and (before is None or before.owner == grant.owner):
        return await _logged_in(request, services, grant)
    return await page(request, "confirm", asked=grant.user_id, held=before and before.user_id)


@router.post("/login")
async def confirm(request: Request, services: ServicesDep, token: Token = "") -> Response:
    """Log in after the confirmation on our page.

    Raises:
        HTTPException: The browser does not confirm that our page sent the request.
        UnauthenticatedError: The token is unknown.
    """
    want_our_page(request)
    return await _logged_in(request, services, await _grant(services, token))


@router.post("/logout")
async def log_out(request: Request, services: ServicesDep) -> Response:
    """End the session, here and in the browser.

    Raises:
        HTTPException: The browser does not confirm that our page sent the request.
    """
    want_our_page(request)
    await services.sessions.end(cookie_value(request) or "")
    response = RedirectResponse("/", status_code=303, headers=PRIVATE)
    delete_cookie(request, response)
    return response


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """A static file: a style sheet, a script or a picture.

    Raises:
        HTTPException: There is no such file.
    """
    if (kind := STATIC.get(name)) is None:
        raise HTTPException(404, "There is no such file.")
    body = await asyncio.to_thread(_content, name)
    return Response(body, media_type=kind, headers={"Cache-Control": "max-age=300"})


@cache
def _content(name: str) -> bytes:
    return (CONSOLE / "static" / name).read_bytes()


async def _grant(services: Services, token: str) -> Grant:
    if (grant := await services.tokens.find(token)) is None:
        raise UnauthenticatedError
    return grant


async def _logged_in(request: Request, services: Services, grant: Grant) -> Response:
    """Open a new session; the session that the browser had ends."""
    await services.sessions.end(cookie_value(request) or "")
    response = RedirectResponse("/", status_code=303, headers=PRIVATE)
    set_cookie(request, response, await services.sessions.open(grant.user_id, grant.token_id))
    return response
