"""The service's public URL, and the check whether a page of another site sent a request.

A request's own ``Host`` and ``X-Forwarded-*`` are trusted only for the comparison with ``Origin``, where
a browser sets both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.types import ASGIApp, Receive, Scope, Send

_PORTS: Final = {"http": 80, "https": 443}
_WEB: Final = {"ws": "http", "wss": "https"}
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_PAGES: Final = frozenset({"same-origin", "none"})


class Origin(NamedTuple):
    """A web origin (scheme, host and port), as browsers compare them."""

    scheme: str
    host: str
    port: int

    @classmethod
    def from_url(cls, url: str) -> Origin | None:
        """Make the origin of the URL ``url``; None if the URL is invalid or has no host."""
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS.get(parts.scheme)
        except ValueError:
            return None
        return cls(parts.scheme, parts.hostname, port) if parts.hostname and port else None


class PublicUrlMiddleware:
    """ASGI middleware that gives each request the scheme and server address of the configured public URL."""

    def __init__(self, app: ASGIApp, url: str) -> None:
        self._app = app
        self._origin = Origin.from_url(url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if self._origin is not None and scope["type"] in {"http", "websocket"}:
            scheme, host, port = self._origin
            scope = {**scope, "scheme": scheme, "server": (host, port)}
        await self._app(scope, receive, send)


def service_base_url(connection: HTTPConnection) -> str:
    """The service's base URL without a trailing slash, from the public URL or else from the connection."""
    scheme = _scheme(connection)
    host, port = connection.scope.get("server") or ("127.0.0.1", None)
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" + (f":{port}" if port and port != _PORTS[scheme] else "")


def is_cross_origin_write(connection: HTTPConnection) -> bool:
    """Whether a page of another origin sent a request that may change something.

    The session cookie of such a request is ignored. False for ``GET``, ``HEAD`` and ``OPTIONS``.
    """
    if connection.scope.get("method") in _SAFE:
        return False
    origin = connection.headers.get("origin")
    if origin is None:
        return connection.headers.get("sec-fetch-site", "none") not in _OWN_PAGES
    asked = f"{_scheme(connection)}://{connection.headers.get('host', '')}"
    return Origin.from_url(origin) not in {
        Origin.from_url(asked),
        Origin.from_url(service_base_url(connection)),
    } - {None}


def _scheme(connection: HTTPConnection) -> str:
    scheme: str = connection.scope.get("scheme", "http")
    return _WEB.get(scheme, scheme)
