"""Who asks: a user, by the header ``x-user``, and their own key, if they bring one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from utils.llm import Caller, use_caller

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class Callers:
    """Names the caller of each request, for all that happens within it: tasks, threads and streams, too.

    A real application takes the user from a session or a token that it has tested.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        key = headers.get("x-openai-key")
        caller = Caller(user_id=headers.get("x-user"), keys={"openai": key} if key else {})
        with use_caller(caller):
            await self.app(scope, receive, send)
