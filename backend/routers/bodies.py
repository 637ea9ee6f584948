"""Limits on request bodies: who may send one, how many bytes, and how slowly.

A body is read only when a route asks for it, and after authentication: without a valid token, no byte of it is read. A route
sets its limits with `body_limit`; by default it needs a token, and accepts at most `SMALL` bytes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from .dependencies import authorize

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SMALL: Final = 16 * 1024
"""Bytes. The longest question is 1,000 characters, each of at most twelve bytes of JSON."""

FIRST_SECONDS: Final = 10.0
SLOWEST: Final = 64 * 1024
"""The slowest rate of a body in bytes per second, after its `FIRST_SECONDS`."""

_DIGITS: Final = 20
"""The most digits of a declared length."""

Endpoint = TypeVar("Endpoint", bound="Callable[..., Any]")


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """The limits on the request body of a route.

    Attributes:
        longest_body: The greatest size of a body, in bytes.
    """

    longest_body: int = SMALL

    @property
    def max_receive_seconds(self) -> float:
        """The longest time that the request body may take to arrive, in seconds."""
        return FIRST_SECONDS + self.longest_body / SLOWEST


_STRICTEST: Final = BodyLimits()
_terms: Final[dict[Any, BodyLimits]] = {}


def body_limit(*, longest_body: int = SMALL) -> Callable[[Endpoint], Endpoint]:
    """Make a decorator that sets the greatest size, in bytes, of the body that an endpoint accepts.

    Put the decorator below the route's decorator.
    """

    def settle(endpoint: Endpoint) -> Endpoint:
        _terms[endpoint] = BodyLimits(longest_body)
        return endpoint

    return settle


def find_body_limits(endpoint: object) -> BodyLimits:
    """Return the limits that `body_limit` set for ``endpoint``; the strictest limits if it set none."""
    return _terms.get(endpoint, _STRICTEST)


class BodyTooLongError(HTTPException):
    """The request body is larger than its route allows: status 413."""

    def __init__(self, longest: int) -> None:
        super().__init__(413, f"The body is too long: this takes at most {longest} bytes.")


class BodyTooSlowError(HTTPException):
    """The request body did not arrive within its time limit: status 408."""

    def __init__(self, seconds: float) -> None:
        super().__init__(408, f"The body did not come within {seconds:.0f} seconds.")


class AuthenticationUnavailableError(HTTPException):
    """An internal error prevented the authentication of a request: status 503.

    The internal error is the ``__cause__``. This is an `HTTPException`, because FastAPI would report any
    other exception that is raised while it reads a body as an invalid body.
    """

    def __init__(self) -> None:
        super().__init__(503)


class BodyLimitMiddleware:
    """ASGI middleware that authenticates the sender when a request body is read, and limits the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the connection on; over HTTP, ``receive`` authenticates the sender and limits the body."""
        await self._app(scope, _Body(scope, receive).receive if scope["type"] == "http" else receive, send)


class _Body:
    """The body of one request, while it arrives."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._connection = HTTPConnection(scope)
        self._receive = receive
        self._terms: BodyLimits | None = None
        self._deadline = 0.0
        self._length = 0
        self._is_whole = False

    async def receive(self) -> Message:
        """The next piece; after the last piece, the server's messages about the connection.

        Raises:
            AuthenticationUnavailableError: The sender cannot be looked up.
            UnauthenticatedError: The route wants a token, and none came that is valid.
            ForbiddenError: The token may not use the route.
            BodyTooLongError: The body is longer than its route takes.
            BodyTooSlowError: The body does not arrive in time.
        """
        if self._is_whole:
            return await self._receive()
        terms = self._terms or await self._admit()
        message = await self._next(terms)
        self._count(message, terms)
        return message

    async def _admit(self) -> BodyLimits:
        """Before the first piece is read, authenticate the sender and check the declared length."""
        terms = find_body_limits(self._connection.scope.get("endpoint"))
        await self._authenticate()
        if _declared_length(self._connection.headers) > terms.longest_body:
            raise BodyTooLongError(terms.longest_body)
        self._terms, self._deadline = terms, asyncio.get_running_loop().time() + terms.max_receive_seconds
        return terms

    async def _authenticate(self) -> None:
        try:
            await authorize(self._connection)
        except HTTPException:
            raise
        except Exception as error:
            raise AuthenticationUnavailableError from error

    async def _next(self, terms: BodyLimits) -> Message:
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._receive()
        except TimeoutError:
            raise BodyTooSlowError(terms.max_receive_seconds) from None

    def _count(self, message: Message, terms: BodyLimits) -> None:
        self._length += len(message.get("body", b""))
        if self._length > terms.longest_body:
            raise BodyTooLongError(terms.longest_body)
        self._is_whole = not message.get("more_body", False)


def _declared_length(headers: Mapping[str, str]) -> int:
    """The length that the request declares; 0 if it declares none, or an invalid one, which the server has refused."""
    declared = headers.get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdecimal() and len(declared) <= _DIGITS else 0
