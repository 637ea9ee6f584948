"""Security headers of every response, and removal of users' keys from request headers."""

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # the login link carries a token
}


KEY_HEADER: Final = "x-byok-"
"""The prefix of a header with a user's key; the provider's name follows."""


class UserKeyRemovalMiddleware:
    """ASGI middleware that deletes users' own keys from the request headers after the response.

    It has to be the outermost middleware, because inner middleware may pass on a copy of the headers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        held = scope.get("headers")
        try:
            await self._app(scope, receive, send)
        finally:
            if isinstance(held, list):
                held[:] = [header for header in held if not header[0].lower().startswith(KEY_HEADER.encode())]


class SecurityHeadersMiddleware:
    """ASGI middleware that adds `SECURITY_HEADERS` to each response, and by default forbids caching it.

    Does not buffer streams.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                headers.update(_not_cached(headers))
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def _not_cached(headers: MutableHeaders) -> dict[str, str]:
    """Keep answers out of caches, unless their route sets a lifetime: they are personal. FastAPI's ``no-cache`` would permit storing them."""
    policy = headers.get("cache-control", "no-cache")
    return {"cache-control": "no-store"} if policy == "no-cache" else {}
