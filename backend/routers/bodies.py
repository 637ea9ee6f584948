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

from .dependencies import admit

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
    """The body limits of a route.

    Attributes:
        longest_body: The most bytes of a body.
    """

    longest_body: int = SMALL

    @property
    def seconds(self) -> float:
        """The most seconds that a body may take to arrive."""
        return FIRST_SECONDS + self.longest_body / SLOWEST


_STRICTEST: Final = BodyLimits()
_terms: Final[dict[Any, BodyLimits]] = {}


def body_limit(*, longest_body: int = SMALL) -> Callable[[Endpoint], Endpoint]:
    """Set how long a request body an endpoint accepts. Use it as a decorator below the route's.

    Args:
        longest_body: The most bytes.
    """

    def settle(endpoint: Endpoint) -> Endpoint:
        _terms[endpoint] = BodyLimits(longest_body)
        return endpoint

    return settle


def body_limits_of(endpoint: object) -> BodyLimits:
    """The body limits of an endpoint; the strictest if it has none, or is None."""
    return _terms.get(endpoint, _STRICTEST)


class TooLongBodyError(HTTPException):
    """A body is longer than its route allows."""

    def __init__(self, longest: int) -> None:
        super().__init__(413, f"The body is too long: this takes at most {longest} bytes.")


class SlowBodyError(HTTPException):
    """A body did not arrive within its time limit."""

    def __init__(self, seconds: float) -> None:
        super().__init__(408, f"The body did not come within {seconds:.0f} seconds.")


class FailedAdmissionError(HTTPException):
    """The sender of a body could not be authenticated, because of an internal error; the cause says why.

    An `HTTPException`, because FastAPI reports any other exception while it reads a body as a fault of the body.
    """

    def __init__(self) -> None:
        super().__init__(503)


class BodyLimitMiddleware:
    """ASGI middleware that authenticates and limits a body when the application reads it."""

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
            FailedAdmissionError: The sender cannot be looked up.
            UnauthenticatedError: The route wants a token, and none came that is valid.
            ForbiddenError: The token may not use the route.
            TooLongBodyError: The body is longer than its route takes.
            SlowBodyError: The body does not arrive in time.
        """
        if self._is_whole:
            return await self._receive()
        terms = self._terms or await self._admit()
        message = await self._next(terms)
        self._count(message, terms)
        return message

    async def _admit(self) -> BodyLimits:
        """Before the first piece is read, authenticate the sender and check the declared length."""
        terms = body_limits_of(self._connection.scope.get("endpoint"))
        await self._authenticate()
        if _declared_length(self._connection.headers) > terms.longest_body:
            raise TooLongBodyError(terms.longest_body)
        self._terms, self._deadline = terms, asyncio.get_running_loop().time() + terms.seconds
        return terms

    async def _authenticate(self) -> None:
        try:
            await admit(self._connection)
        except HTTPException:
            raise
        except Exception as error:
            raise FailedAdmissionError from error

    async def _next(self, terms: BodyLimits) -> Message:
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._receive()
        except TimeoutError:
            raise SlowBodyError(terms.seconds) from None

    def _count(self, message: Message, terms: BodyLimits) -> None:
        self._length += len(message.get("body", b""))
        if self._length > terms.longest_body:
            raise TooLongBodyError(terms.longest_body)
        self._is_whole = not message.get("more_body", False)


def _declared_length(headers: Mapping[str, str]) -> int:
    """The length that the request declares; 0 if it declares none, or an invalid one, which the server has refused."""
    declared = headers.get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdecimal() and len(declared) <= _DIGITS else 0
