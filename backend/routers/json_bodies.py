"""JSON that comes in: bounded before it is built, validated beside the event loop, and refused at its first faults."""

from __future__ import annotations

import asyncio
from email.message import Message
from typing import TYPE_CHECKING, Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from typing_extensions import override

from .bodies import SMALL
from .dependencies import get_services
from .json_shape import fault_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence


_NOT_JSON: Final = {
    "type": "json_type",
    "loc": ("body",),
    "msg": "has to be JSON, not compressed: `Content-Type: application/json`",
}


class InvalidBodyError(HTTPException):
    """A body that is not what the route takes."""

    def __init__(self, problems: Sequence[Any]) -> None:
        super().__init__(422, "The request is not valid.")
        self._problems = problems

    def errors(self) -> Sequence[Any]:
        """Each with ``type``, ``loc`` and ``msg``, as pydantic and FastAPI tell them."""
        return self._problems


class JsonRoute(APIRoute):
    """A route whose body is JSON. What FastAPI is given for it is the model already: it has nothing left to validate."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle
        wanted: Any = self.body_field.field_info.annotation
        model: TypeAdapter[Any] = TypeAdapter(wanted)

        async def handle_validated(request: Request) -> Response:
            return await handle(_JsonRequest(request, model))

        return handle_validated


class _JsonRequest(Request):
    def __init__(self, request: Request, model: TypeAdapter[Any]) -> None:
        super().__init__(request.scope, request.receive)
        self._model = model

    @override
    async def body(self) -> bytes:
        body = await super().body()
        if body and not _is_plain_json(self):
            raise InvalidBodyError([_NOT_JSON])
        return body

    @override
    async def json(self) -> Any:
        body = await self.body()
        if len(body) <= SMALL:
            return validated(body, self._model)
        async with get_services(self).long_bodies:
            return await asyncio.to_thread(validated, body, self._model)


def validated(body: bytes, model: TypeAdapter[Any]) -> Any:
    """What ``body`` says, as ``model`` has it. Nothing is coerced.

    Raises:
        InvalidBodyError: If it is not valid. Tells of no input but the names of fields.
    """
    if fault := fault_of(body):
        raise InvalidBodyError([{"type": "json_shape", "loc": ("body",), "msg": fault}])
    problems: Sequence[Any] = ()
    try:
        return model.validate_json(body, strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
    raise InvalidBodyError([one | {"loc": ("body", *one["loc"])} for one in problems])


def _is_plain_json(request: Request) -> bool:
    kind = Message()
    kind["content-type"] = request.headers.get("content-type", "")
    is_json = kind.get_content_type() == "application/json" or kind.get_content_type().endswith("+json")
    return is_json and request.headers.get("content-encoding", "identity").lower() == "identity"
