"""Logins of browsers: the session, and the cookie that carries it."""

import re
from typing import Final, Protocol

from starlette.requests import HTTPConnection
from starlette.responses import Response

from backend.access import Grant

COOKIE: Final = "patchbay_session"

REMEMBERED: Final = 30 * 24 * 60 * 60
"""Seconds for which a browser keeps the cookie. The session may end before."""

_PORT: Final = re.compile(r":(\d{1,5})$")


class Sessions(Protocol):
    """The sessions of browsers. What a cookie holds is good for nothing else."""

    async def open(self, user_id: str, token_id: str | None = None) -> str:
        """Begin a session, which ends when the token is revoked, and return what its cookie is to hold."""
        ...

    async def find(self, plain: str) -> Grant | None:
        """What the session whose cookie holds ``plain`` gives, if it has not ended."""
        ...

    async def end(self, plain: str) -> None:
        """End the session whose cookie holds ``plain``, if there is one."""
        ...


def cookie_name(connection: HTTPConnection) -> str:
    """The name of the cookie: a host's cookies go to all of its ports, so each port has a name of its own.

    Over TLS no other host can set one of that name, and it is never sent without TLS.
    """
    found = _PORT.search(connection.headers.get("host", ""))
    port = found[1] if found else ("443" if is_secure(connection) else "80")
    return f"{'__Host-' if is_secure(connection) else ''}{COOKIE}_{port}"


def is_secure(connection: HTTPConnection) -> bool:
    """Whether the browser speaks TLS."""
    return connection.scope["scheme"] in {"https", "wss"}


def held(connection: HTTPConnection) -> str | None:
    """The value of the browser's cookie."""
    return connection.cookies.get(cookie_name(connection))


def is_own_form(connection: HTTPConnection) -> bool:
    """Whether the browser vouches that it is sent by a page of ours. One that says nothing does not."""
    if (site := connection.headers.get("sec-fetch-site")) is not None:
        return site == "same-origin"
    scheme = "https" if is_secure(connection) else "http"
    return connection.headers.get("origin") == f"{scheme}://{connection.headers.get('host')}"


def is_typed_in(connection: HTTPConnection) -> bool:
    """Whether the browser vouches that a person opened it: from a terminal, the address line or a bookmark."""
    return connection.headers.get("sec-fetch-site") == "none"


def remember(connection: HTTPConnection, response: Response, plain: str) -> None:
    """Let the browser keep ``plain`` in a cookie that scripts and other sites cannot use."""
    response.set_cookie(
        cookie_name(connection),
        plain,
        max_age=REMEMBERED,
        path="/",
        secure=is_secure(connection),
        httponly=True,
        samesite="strict",
    )


def forget(connection: HTTPConnection, response: Response) -> None:
    """Let the browser forget the cookie."""
    response.delete_cookie(
        cookie_name(connection), path="/", secure=is_secure(connection), httponly=True, samesite="strict"
    )
