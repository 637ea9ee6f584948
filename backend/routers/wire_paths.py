"""Paths and methods that a wire does not have: refused in the wire's own form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException

from . import chat_completions, complete, errors, messages, models, responses
from .wire_routes import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request, Response

    from backend.wires.wire import Wire


def install(app: FastAPI) -> None:
    """Answer unknown paths and methods below each wire's path with an error in that wire's form. Call it after `errors.install`."""
    app.add_exception_handler(HTTPException, _answer)


_WIRES: Final[Mapping[str, Wire]] = {
    "/v1/chat/completions": chat_completions.WIRE,
    "/v1/complete": complete.WIRE,
    "/v1/messages": messages.WIRE,
    "/v1/responses": responses.WIRE,
}


async def _answer(request: Request, error: Exception) -> Response:
    wire = _wire_at(request)
    return await errors.answer(request, error) if wire is None else refusal(wire, error)


def _wire_at(request: Request) -> Wire | None:
    path = f"{request.url.path}/"
    if path.startswith(f"{models.router.prefix}/"):
        return models.wire_for(request)
    return next((wire for prefix, wire in _WIRES.items() if path.startswith(f"{prefix}/")), None)
