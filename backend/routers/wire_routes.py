"""Routes of a wire: read a body, let a responder answer, and write errors in the wire's form."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from typing_extensions import override
from uuid_utils import uuid7

from backend.utils.llm.errors import LLMError
from backend.wires.bodies import LONGEST, read_object
from backend.wires.faults import Fault, FaultError, NotServedError, fault_of
from backend.wires.sse import json_bytes
from backend.wires.streams import with_error_event
from backend.wires.wire import written

from .dependencies import get_services
from .disconnect import while_connected
from .errors import describe
from .event_stream import PING, EventStream
from .json_bodies import is_json
from .stopping import STOPPING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from backend.wires.request import CompletionRequest
    from backend.wires.wire import Exchange, Wire, WireOf

log = logging.getLogger(__name__)

ExchangeT = TypeVar("ExchangeT", bound="Exchange")
T = TypeVar("T")

LONGEST_BODY: Final = LONGEST
RECEIPT_WANTED: Final = "x-patchbay-receipt"
"""The request header that, with ``body``, adds the receipts to the answer's body."""
RECEIPT_ID: Final = "x-patchbay-receipt-id"
"""The response header with the call's id in the ledger; several, separated by commas, for several choices."""
STRICT: Final = "x-patchbay-strict"
"""The request header that, with ``true``, refuses a request with unsupported fields instead of ignoring them."""
IGNORED: Final = "x-patchbay-ignored"
"""The response header with the names of the request's ignored fields."""
REQUEST_IDS: Final = ("x-request-id", "request-id")
"""The response headers with the request's id, as OpenAI's and as Anthropic's clients read it."""

_READ_AT_ONCE: Final = 64 * 1024
"""Bytes that are read in a fraction of a millisecond, as the first requests of coding clients are."""


def route_of(wire: Wire | Callable[[Request], Wire]) -> type[APIRoute]:
    """Make a route class for FastAPI that writes every error in the form of ``wire``.

    If ``wire`` is a function, it chooses the protocol for each request.
    """

    class WireRoute(APIRoute):
        @override
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handle_in_its_words(request: Request) -> Response:
                try:
                    response = await handle(request)
                except Exception as error:  # noqa: BLE001 - described, and logged if nobody foresaw it
                    return refusal(wire(request) if callable(wire) else wire, error)
                response.headers.update(dict.fromkeys(REQUEST_IDS, _request_id()))
                return response

            return handle_in_its_words

    return WireRoute


async def answered(request: Request, wire: Wire, *, ping: bytes = PING) -> Response:
    """Read ``request``, let the responder of its model answer, and return the response, complete or as a stream.

    If the client disconnects, the request to the provider is cancelled.

    Args:
        request: The client's request.
        wire: The protocol that the client speaks.
        ping: The bytes that keep a silent stream open.
    """
    return await answer_to(await read(request, wire), request, wire, ping=ping)


async def read(request: Request, wire: WireOf[ExchangeT]) -> ExchangeT:
    """Parse ``request`` by ``wire``.

    Raises:
        FaultError: The request is invalid for ``wire``, or strict and has unsupported fields.
    """
    tells_receipt = request.headers.get(RECEIPT_WANTED, "").lower() == "body"
    exchange = await read_body(request, partial(wire.read, tells_receipt=tells_receipt))
    if exchange.request.ignored and _is_strict(request):
        raise NotServedError(exchange.request.ignored)
    return exchange


def _is_strict(request: Request) -> bool:
    return request.headers.get(STRICT, "").lower() == "true"


async def answer_to(exchange: Exchange, request: Request, wire: Wire, *, ping: bytes = PING) -> Response:
    """Like `answered`, for a request that was already parsed into ``exchange``."""
    asked = replace(exchange.request, is_strict=True) if _is_strict(request) else exchange.request
    responder = get_services(request).responders.responder(asked.model)
    if asked.streams:
        stream = responder.stream(asked)
        async with while_connected(request.receive):
            first = await anext(stream)
        ignored = getattr(first, "ignored", ())
        return EventStream(
            written(with_error_event(first, stream), exchange.writer()),
            headers=_headers(asked, ignored),
            stopping=wire.stopped(_STOPPED),
            ping=ping,
        )
    async with while_connected(request.receive):
        answer = await responder.answer(asked)
    return json_response(exchange.document(answer), headers=_headers(asked, answer.ignored))


async def read_body(request: Request, reading: Callable[[dict[str, Any]], T]) -> T:
    """Parse the JSON body of ``request``, and return what ``reading`` makes of it.

    A long or compressed body is parsed in a thread, one body at a time, so that it does not block the event loop.

    Raises:
        FaultError: The body is no JSON object or too large, or ``reading`` refuses it.
        HTTPException: The body is too long or too slow, or its sender has no token.
    """
    body, encoding = await request.body(), request.headers.get("content-encoding", "")
    if not is_json(request):
        raise FaultError(
            Fault(415, "unsupported_media_type", "The body has to be JSON: `Content-Type: application/json`.")
        )
    if len(body) <= _READ_AT_ONCE and not encoding:
        return reading(read_object(body))
    async with get_services(request).long_bodies:
        return await asyncio.to_thread(lambda: reading(read_object(body, encoding)))


def json_response(
    document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """``document`` as a JSON response."""
    return Response(json_bytes(document), status, dict(headers or {}), "application/json")


def fault_from(error: Exception) -> tuple[Fault, Mapping[str, str]]:
    """Translate any exception into the `Fault` that the client is told, and the headers to send with it.

    An unexpected exception becomes an internal error without details.
    """
    if isinstance(error, FaultError):
        return error.fault, {}
    if isinstance(error, LLMError):
        fault = fault_of(error)
        wait = {} if fault.retry_after is None else {"retry-after": str(ceil(fault.retry_after))}
        return fault, wait if fault.call_id is None else {**wait, RECEIPT_ID: fault.call_id}
    problem = describe(error)
    return Fault(problem.status, problem.error["code"], problem.error["message"]), problem.headers or {}


_STOPPED: Final = Fault(503, STOPPING["code"], STOPPING["message"])


def refusal(wire: Wire, error: Exception) -> Response:
    """The error response for an exception, in the form of ``wire``."""
    request_id = _request_id()
    fault, headers = fault_from(error)
    status, body = wire.error(fault, request_id)
    return json_response(body, status, {**headers, **dict.fromkeys(REQUEST_IDS, request_id)})


def _request_id() -> str:
    return f"req_{uuid7().hex}"


def _headers(asked: CompletionRequest, ignored: Any) -> dict[str, str]:
    headers = {RECEIPT_ID: ",".join(asked.ids)}
    if names := [*asked.ignored, *ignored]:
        headers[IGNORED] = ", ".join(names)
    return headers
