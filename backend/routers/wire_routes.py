"""Routes that speak a vendor's protocol (a wire), and write errors in its format, too."""

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
from backend.wires.bodies import LONGEST, parse_json_object
from backend.wires.faults import RequestFault, RequestFaultError, UnsupportedParameterError, fault_from_error
from backend.wires.sse import encode_json
from backend.wires.streams import yield_with_error_event
from backend.wires.wire import encode_event_stream

from .dependencies import get_services
from .disconnect import cancel_on_disconnect
from .errors import describe_error
from .event_stream import PING, EventStreamResponse
from .json_bodies import has_json_content_type
from .stopping import STOPPING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from backend.wires.request import CompletionRequest
    from backend.wires.wire import Wire, WireExchange, WireProtocol

log = logging.getLogger(__name__)

ExchangeT = TypeVar("ExchangeT", bound="WireExchange")
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


def make_wire_route_class(wire: Wire | Callable[[Request], Wire]) -> type[APIRoute]:
    """Make a FastAPI route class that writes every error in the format of an API, such as OpenAI's.

    Args:
        wire: The protocol of the API, or a function that chooses the protocol for each request.
    """

    class WireRoute(APIRoute):
        @override
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handle_in_its_words(request: Request) -> Response:
                try:
                    response = await handle(request)
                except Exception as error:  # noqa: BLE001 - described, and logged if nobody foresaw it
                    return make_error_response(wire(request) if callable(wire) else wire, error)
                response.headers.update(dict.fromkeys(REQUEST_IDS, _request_id()))
                return response

            return handle_in_its_words

    return WireRoute


async def answer_request(request: Request, wire: Wire, *, ping: bytes = PING) -> Response:
    """Answer a request to the model that it names, completely or as a stream, as the request asks.

    If the client disconnects, the call to the provider is cancelled.

    Args:
        request: The client's request.
        wire: The protocol that the client speaks.
        ping: The keep-alive that a stream sends while there are no events.
    """
    return await answer_parsed_request(await parse_wire_request(request, wire), request, wire, ping=ping)


async def parse_wire_request(request: Request, wire: WireProtocol[ExchangeT]) -> ExchangeT:
    """Parse the body of ``request``, which is in the format of the protocol ``wire``.

    Raises:
        RequestFaultError: The request is invalid, or has unsupported fields and a header that forbids
            ignoring them.
    """
    includes_receipt = request.headers.get(RECEIPT_WANTED, "").lower() == "body"
    exchange = await parse_json_body(request, partial(wire.parse_request, includes_receipt=includes_receipt))
    if exchange.request.ignored and _is_strict(request):
        raise UnsupportedParameterError(exchange.request.ignored)
    return exchange


def _is_strict(request: Request) -> bool:
    return request.headers.get(STRICT, "").lower() == "true"


async def answer_parsed_request(
    exchange: WireExchange, request: Request, wire: Wire, *, ping: bytes = PING
) -> Response:
    """Answer a request that `parse_wire_request` has parsed. Otherwise like `answer_request`.

    Args:
        exchange: The parsed request.
        request: The client's request.
        wire: The protocol that the client speaks.
        ping: The keep-alive that a stream sends while there are no events.
    """
    asked = replace(exchange.request, is_strict=True) if _is_strict(request) else exchange.request
    responder = get_services(request).responders.find_responder(asked.model)
    if asked.streams:
        stream = responder.stream(asked)
        async with cancel_on_disconnect(request.receive):
            first = await anext(stream)
        ignored = getattr(first, "ignored", ())
        return EventStreamResponse(
            encode_event_stream(yield_with_error_event(first, stream), exchange.make_event_writer()),
            headers=_headers(asked, ignored),
            stopping=wire.encode_shutdown_event(_STOPPED),
            ping=ping,
        )
    async with cancel_on_disconnect(request.receive):
        answer = await responder.answer(asked)
    return make_json_response(exchange.make_response_body(answer), headers=_headers(asked, answer.ignored))


async def parse_json_body(request: Request, convert: Callable[[dict[str, Any]], T]) -> T:
    """Parse the JSON body of ``request``, and return the result of calling ``convert`` with it.

    Long or compressed bodies are parsed in a thread, one at a time, so that the event loop is not blocked.

    Raises:
        RequestFaultError: The body is no JSON object or too large, or ``convert`` refuses it.
        HTTPException: The body is too long or arrives too slowly, or its sender has no valid token.
    """
    body, encoding = await request.body(), request.headers.get("content-encoding", "")
    if not has_json_content_type(request):
        raise RequestFaultError(
            RequestFault(
                415, "unsupported_media_type", "The body has to be JSON: `Content-Type: application/json`."
            )
        )
    if len(body) <= _READ_AT_ONCE and not encoding:
        return convert(parse_json_object(body))
    async with get_services(request).long_bodies:
        return await asyncio.to_thread(lambda: convert(parse_json_object(body, encoding)))


def make_json_response(
    document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Make a JSON response with the content ``document``."""
    return Response(encode_json(document), status, dict(headers or {}), "application/json")


def fault_from_exception(error: Exception) -> tuple[RequestFault, Mapping[str, str]]:
    """Translate any exception into the `RequestFault` to report to the client, and the headers to send with it.

    An unexpected exception becomes an internal error without details.
    """
    if isinstance(error, RequestFaultError):
        return error.fault, {}
    if isinstance(error, LLMError):
        fault = fault_from_error(error)
        wait = {} if fault.retry_after is None else {"retry-after": str(ceil(fault.retry_after))}
        return fault, wait if fault.call_id is None else {**wait, RECEIPT_ID: fault.call_id}
    problem = describe_error(error)
    return RequestFault(
        problem.status, problem.error["code"], problem.error["message"]
    ), problem.headers or {}


_STOPPED: Final = RequestFault(503, STOPPING["code"], STOPPING["message"])


def make_error_response(wire: Wire, error: Exception) -> Response:
    """Make the error response for an exception, in the format of the protocol ``wire``."""
    request_id = _request_id()
    fault, headers = fault_from_exception(error)
    status, body = wire.to_error_response(fault, request_id)
    return make_json_response(body, status, {**headers, **dict.fromkeys(REQUEST_IDS, request_id)})


def _request_id() -> str:
    return f"req_{uuid7().hex}"


def _headers(asked: CompletionRequest, ignored: Any) -> dict[str, str]:
    headers = {RECEIPT_ID: ",".join(asked.ids)}
    if names := [*asked.ignored, *ignored]:
        headers[IGNORED] = ", ".join(names)
    return headers
