"""Answers unknown paths and methods of a vendor's API with an error in the format of that API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException

from . import chat_completions, complete, errors, messages, models, responses
from .wire_routes import make_error_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request, Response

    from backend.wires.wire import Wire


def install_wire_error_handler(app: FastAPI) -> None:
    """Make ``app`` write HTTP errors of a vendor's API, such as for unknown paths, in that API's format.

    Call this after `errors.install_error_handlers`.
    """
    app.add_exception_handler(HTTPException, _answer)


_WIRES: Final[Mapping[str, Wire]] = {
    "/v1/chat/completions": chat_completions.WIRE,
    "/v1/complete": complete.WIRE,
    "/v1/messages": messages.WIRE,
    "/v1/responses": responses.WIRE,
}


async def _answer(request: Request, error: Exception) -> Response:
    wire = _wire_at(request)
    return await errors.respond_to_error(request, error) if wire is None else make_error_response(wire, error)


def _wire_at(request: Request) -> Wire | None:
    path = f"{request.url.path}/"
    if path.startswith(f"{models.router.prefix}/"):
        return models.choose_wire_protocol(request)
    return next((wire for prefix, wire in _WIRES.items() if path.startswith(f"{prefix}/")), None)
