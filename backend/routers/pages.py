"""Login and logout of browsers, and the static files of the console."""

import asyncio
from functools import cache
from typing import Annotated, Final

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse

from backend.access import Grant

from .dependencies import Services, ServicesDep, UnauthenticatedError, find_session_grant
from .forms import require_same_origin_form
from .logins import delete_session_cookie, is_direct_navigation, read_session_cookie, set_session_cookie
from .rendering import CONSOLE, PRIVATE, PageRoute, render_page

STATIC: Final = {
    "console.css": "text/css",
    "console.js": "text/javascript",
    "htmx-4.0.1.min.js": "text/javascript",
    "mark.svg": "image/svg+xml",
}
"""The static files, with their media types."""

Token = Annotated[str, Query(max_length=500)]
"""The token in the address of the link and of its form, so that the page does not repeat it."""

router: Final = APIRouter(route_class=PageRoute, default_response_class=Response, include_in_schema=False)


@router.get("/login")
async def log_in_by_link(request: Request, services: ServicesDep, token: Token = "") -> Response:
    """Log in with the token in the link that the user opened, or ask for a confirmation first.

    A confirmation is needed if the browser does not say that the link was opened directly, or if another
    user is logged in.

    Raises:
        UnauthenticatedError: The token is unknown.
    """
    grant = await _grant(services, token)
    before = await find_session_grant(request, services)
    if is_direct_navigation(request) and (before is None or before.owner == grant.owner):
        return await _logged_in(request, services, grant)
    return await render_page(request, "confirm", asked=grant.user_id, held=before and before.user_id)


@router.post("/login")
async def confirm_login(request: Request, services: ServicesDep, token: Token = "") -> Response:
    """Log in with the token in the link, after the user has confirmed it on a page of the console.

    Raises:
        HTTPException: The browser's headers do not confirm that the console's page sent the request.
        UnauthenticatedError: The token is unknown.
    """
    require_same_origin_form(request)
    return await _logged_in(request, services, await _grant(services, token))


@router.post("/logout")
async def log_out(request: Request, services: ServicesDep) -> Response:
    """End the session on the server, and delete its cookie in the browser.

    Raises:
        HTTPException: The browser's headers do not confirm that a page of the console sent the request.
    """
    require_same_origin_form(request)
    await services.sessions.end_session(read_session_cookie(request) or "")
    response = RedirectResponse("/", status_code=303, headers=PRIVATE)
    delete_session_cookie(request, response)
    return response


@router.get("/static/{name}")
async def serve_static_file(name: str) -> Response:
    """Return a static file of the console: a style sheet, a script or an image.

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
    if (grant := await services.tokens.find_grant(token)) is None:
        raise UnauthenticatedError
    return grant


async def _logged_in(request: Request, services: Services, grant: Grant) -> Response:
    """Open a new session; the session that the browser had ends."""
    await services.sessions.end_session(read_session_cookie(request) or "")
    response = RedirectResponse("/", status_code=303, headers=PRIVATE)
    set_session_cookie(request, response, await services.sessions.open_session(grant.user_id, grant.token_id))
    return response
