"""Browser logins: the session, and its cookie."""

import re
from typing import Final, Protocol

from starlette.requests import HTTPConnection
from starlette.responses import Response

from backend.access import Grant

COOKIE: Final = "patchbay_session"

REMEMBERED: Final = 30 * 24 * 60 * 60
"""Seconds for which a browser keeps the cookie. The session may end earlier."""

_PORT: Final = re.compile(r":(\d{1,5})$")


class Sessions(Protocol):
    """Starts, looks up and ends the logins of browsers. The value of a session cookie does not work as an access token."""

    async def open(self, user_id: str, token_id: str | None = None) -> str:
        """Open a session, which ends when the token is revoked, and return the value of its cookie."""
        ...

    async def find(self, plain: str) -> Grant | None:
        """The rights of the session whose cookie has the value ``plain``; None if there is no such session, or it has ended."""
        ...

    async def end(self, plain: str) -> None:
        """End the session whose cookie is ``plain``, if there is one."""
        ...


def cookie_name(connection: HTTPConnection) -> str:
    """The name of the session cookie. It contains the port, because browsers send a host's cookies to all of its ports.

    Over TLS the name's prefix keeps other hosts from setting it, and browsers from sending it without TLS.
    """
    found = _PORT.search(connection.headers.get("host", ""))
    port = found[1] if found else ("443" if is_secure(connection) else "80")
    return f"{'__Host-' if is_secure(connection) else ''}{COOKIE}_{port}"


def is_secure(connection: HTTPConnection) -> bool:
    """Whether the browser uses HTTPS, as far as the configured public URL or the connection tells."""
    return connection.scope["scheme"] in {"https", "wss"}


def cookie_value(connection: HTTPConnection) -> str | None:
    """The value of the session cookie that the browser sent."""
    return connection.cookies.get(cookie_name(connection))


def is_own_form(connection: HTTPConnection) -> bool:
    """Whether the browser confirms that a page of this application sent the form; False if it says nothing."""
    if (site := connection.headers.get("sec-fetch-site")) is not None:
        return site == "same-origin"
    scheme = "https" if is_secure(connection) else "http"
    return connection.headers.get("origin") == f"{scheme}://{connection.headers.get('host')}"


def is_direct_navigation(connection: HTTPConnection) -> bool:
    """Whether the browser confirms that a person opened the address: from a terminal, the address bar or a bookmark."""
    return connection.headers.get("sec-fetch-site") == "none"


def set_cookie(connection: HTTPConnection, response: Response, plain: str) -> None:
    """Set the session cookie to ``plain``, out of reach of scripts and other sites."""
    response.set_cookie(
        cookie_name(connection),
        plain,
        max_age=REMEMBERED,
        path="/",
        secure=is_secure(connection),
        httponly=True,
        samesite="strict",
    )


def delete_cookie(connection: HTTPConnection, response: Response) -> None:
    """Delete the session cookie."""
    response.delete_cookie(
        cookie_name(connection), path="/", secure=is_secure(connection), httponly=True, samesite="strict"
    )
