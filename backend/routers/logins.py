"""Browser logins: the store of sessions, the session cookie, and checks of the headers that browsers send."""

import re
from typing import Final, Protocol

from starlette.requests import HTTPConnection
from starlette.responses import Response

from backend.access import Grant

COOKIE: Final = "patchbay_session"

REMEMBERED: Final = 30 * 24 * 60 * 60
"""Seconds for which a browser keeps the cookie. The session may end earlier."""

_PORT: Final = re.compile(r":(\d{1,5})$")


class BrowserSessions(Protocol):
    """Starts, looks up and ends browser sessions. A session cookie is no access token."""

    async def open_session(self, user_id: str, token_id: str | None = None) -> str:
        """Start a session of the user, and return the value of its cookie.

        Args:
            user_id: The user who logs in.
            token_id: The id of the access token with which the user logs in; None for no token. When the token
                is revoked, the session ends.
        """
        ...

    async def find_grant(self, cookie_value: str) -> Grant | None:
        """Return the rights of the session with this cookie; None if the session is unknown or has ended."""
        ...

    async def end_session(self, cookie_value: str) -> None:
        """End the session with the given cookie. Does nothing if there is no such session."""
        ...


def session_cookie_name(connection: HTTPConnection) -> str:
    """The name of the session cookie.

    It contains the port, because browsers send a host's cookies to all ports of the host. With HTTPS it has
    the prefix ``__Host-``, so that other hosts cannot set the cookie, and browsers never send it
    unencrypted.
    """
    found = _PORT.search(connection.headers.get("host", ""))
    port = found[1] if found else ("443" if is_https(connection) else "80")
    return f"{'__Host-' if is_https(connection) else ''}{COOKIE}_{port}"


def is_https(connection: HTTPConnection) -> bool:
    """Whether the browser uses HTTPS, by the configured public URL or, if there is none, by the connection."""
    return connection.scope["scheme"] in {"https", "wss"}


def read_session_cookie(connection: HTTPConnection) -> str | None:
    """Read the value of the session cookie that the browser sent; None without one."""
    return connection.cookies.get(session_cookie_name(connection))


def is_same_origin_form(connection: HTTPConnection) -> bool:
    """Whether the browser's headers confirm that a page of this application sent the form.

    False if the headers that would say so are missing.
    """
    if (site := connection.headers.get("sec-fetch-site")) is not None:
        return site == "same-origin"
    scheme = "https" if is_https(connection) else "http"
    return connection.headers.get("origin") == f"{scheme}://{connection.headers.get('host')}"


def is_direct_navigation(connection: HTTPConnection) -> bool:
    """Whether the browser's headers confirm that the user opened the address directly, not from a page."""
    return connection.headers.get("sec-fetch-site") == "none"


def set_session_cookie(connection: HTTPConnection, response: Response, cookie_value: str) -> None:
    """Set the session cookie in ``response``.

    Scripts cannot read it, and other sites cannot make the browser send it.
    """
    response.set_cookie(
        session_cookie_name(connection),
        cookie_value,
        max_age=REMEMBERED,
        path="/",
        secure=is_https(connection),
        httponly=True,
        samesite="strict",
    )


def delete_session_cookie(connection: HTTPConnection, response: Response) -> None:
    """Make the browser delete the session cookie."""
    response.delete_cookie(
        session_cookie_name(connection),
        path="/",
        secure=is_https(connection),
        httponly=True,
        samesite="strict",
    )
