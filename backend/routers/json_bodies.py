"""JSON bodies: limited before they are parsed, and validated in a thread."""

from __future__ import annotations

import asyncio
from email.message import Message
from typing import TYPE_CHECKING, Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from typing_extensions import override

from .bodies import SMALL
from .dependencies import get_services
from .json_model import InvalidBodyError, JsonBodyValidator

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


_NOT_JSON: Final = {
    "type": "json_type",
    "loc": ("body",),
    "msg": "has to be JSON, not compressed: `Content-Type: application/json`",
}


class JsonRoute(APIRoute):
    """A FastAPI route class that checks the size and nesting of JSON bodies before it validates them.

    The endpoint gets the validated model as usual. Long bodies are validated in a thread.
    """

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle
        model = JsonBodyValidator(self.body_field.field_info.annotation)

        async def handle_validated(request: Request) -> Response:
            return await handle(_JsonRequest(request, model))

        return handle_validated


class _JsonRequest(Request):
    def __init__(self, request: Request, model: JsonBodyValidator) -> None:
        super().__init__(request.scope, request.receive)
        self._model = model

    @override
    async def body(self) -> bytes:
        body = await super().body()
        if body and not (has_json_content_type(self) and _is_not_packed(self)):
            raise InvalidBodyError([_NOT_JSON])
        return body

    @override
    async def json(self) -> Any:
        body = await super().body()  # which FastAPI has asked for before
        if len(body) <= SMALL:
            return self._model.parse_body(body)
        async with get_services(self).long_bodies:
            return await asyncio.to_thread(self._model.parse_body, body)


def has_json_content_type(request: Request) -> bool:
    """Whether the ``Content-Type`` of ``request`` is JSON."""
    kind = Message()
    kind["content-type"] = request.headers.get("content-type", "")
    return kind.get_content_type() == "application/json" or kind.get_content_type().endswith("+json")


def _is_not_packed(request: Request) -> bool:
    return request.headers.get("content-encoding", "identity").lower() == "identity"
