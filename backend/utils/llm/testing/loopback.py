"""A fake provider for tests: an HTTP server on the loopback interface, with the APIs of all vendors.

``LoopbackProvider`` serves OpenAI's Chat Completions and Responses, Gemini's REST API and Anthropic's
Messages API at one address. Replies come from a script or are made by rules; every request is recorded.
It speaks HTTP/1.1 with keep-alive, with a thread for each connection.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from dataclasses import replace
from typing import TYPE_CHECKING, Self, TypeAlias

from .exchanges import NotRecordedError, ReplayKey
from .recording import RecordedRequest
from .replies import Raw, Status
from .responder import make_default_reply
from .server import LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import TracebackType

    from .exchanges import Replay
    from .replies import Reply
    from .transmission import ReplyContext
    from .wire import FakeProviderApi

_CLOSE_SECONDS = 5.0

Requests: TypeAlias = tuple[RecordedRequest, ...]


class LoopbackProvider:
    """A fake provider for tests, a real HTTP server: ``with LoopbackProvider() as provider: …``.

    Any number of clients may call it at once. A request gets the first of these replies that exists: the next
    reply scripted for its model; the next reply scripted for any model; with ``replay`` the recorded answer,
    or a 400; the reply set by `always`; a reply made by rules (see `responder`). Requests with a rejected
    key, to an unknown path, or for the list of models use up no scripted reply.

    Args:
        accept_keys: The API keys to accept; None accepts any key, and requests without a key.
        served_suffix: The suffix that answers add to the requested model's name.
        models: The names in the list of models.
        replay: A recording that answers requests without a scripted reply. See `recordings`.
    """

    def __init__(
        self,
        *,
        accept_keys: Collection[str] | None = None,
        served_suffix: str = "-2026-11-01",
        models: Collection[str] = ("loopback",),
        replay: Replay | None = None,
    ) -> None:
        self.accept_keys = None if accept_keys is None else frozenset(accept_keys)
        self.served_suffix = served_suffix
        self.models = tuple(models)
        self.replay = replay
        self._server: LoopbackServer | None = None
        self._changed = threading.Condition()
        self._count = 0
        self._requests: dict[int, RecordedRequest] = {}
        self._scripts: defaultdict[str | None, deque[Reply]] = defaultdict(deque)
        self._defaults: dict[str | None, Reply] = {}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> Self:
        """Start to listen on a free port of 127.0.0.1. Does nothing if the server is running."""
        if self._server is None:
            self._server = LoopbackServer(self)
            self._server.start()
        return self

    def close(self) -> None:
        """Close all connections, end all waiting replies, and free the port. Does nothing if the server is closed."""
        if self._server is not None:
            self._server.stop(timeout_seconds=_CLOSE_SECONDS)
            self._server = None

    @property
    def origin(self) -> str:
        """The server's address without a path, ``http://127.0.0.1:PORT``.

        Raises:
            RuntimeError: The server is not running.
        """
        if self._server is None:
            raise RuntimeError("The loopback provider is not running; use it as a context manager.")
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def openai_url(self) -> str:
        """The ``base_url`` for clients of OpenAI's API."""
        return f"{self.origin}/v1"

    @property
    def gemini_url(self) -> str:
        """The ``base_url`` for clients of Gemini's API."""
        return self.origin

    @property
    def anthropic_url(self) -> str:
        """The ``base_url`` for clients of Anthropic's API."""
        return self.origin

    @property
    def requests(self) -> Requests:
        """All requests received so far, in order of arrival."""
        with self._changed:
            return tuple(self._requests.values())

    def script(self, *replies: Reply, model: str | None = None) -> None:
        """Queue replies, one for each of the next requests; with ``model``, only for requests for that model."""
        with self._changed:
            self._scripts[model].extend(replies)

    def always(self, reply: Reply, *, model: str | None = None) -> None:
        """Set the reply to all requests without a scripted reply; with ``model``, only to requests for that model."""
        with self._changed:
            self._defaults[model] = reply

    def clear(self) -> None:
        """Forget all recorded requests, scripted replies, and replies set by `always`."""
        with self._changed:
            self._requests.clear()
            self._scripts.clear()
            self._defaults.clear()

    def wait_until(self, condition: Callable[[Requests], bool], *, timeout_seconds: float = 5.0) -> bool:
        """Block until ``condition``, called with all requests so far, is true.

        Returns:
            True; or False if the condition is still false after ``timeout_seconds``.
        """
        with self._changed:
            return self._changed.wait_for(lambda: condition(tuple(self._requests.values())), timeout_seconds)

    def record_request(self, request: RecordedRequest) -> int:
        """Record a request on arrival, and return its number, counted from 1. Called by the server."""
        with self._changed:
            self._count += 1
            self._requests[self._count] = replace(request, arrived_at=time.monotonic())
            self._changed.notify_all()
            return self._count

    def record_disconnect(self, number: int) -> None:
        """Record that the client of request ``number`` disconnected too early. Called by the server."""
        with self._changed:
            if number in self._requests:
                self._requests[number] = replace(self._requests[number], closed_by_client=True)
                self._changed.notify_all()

    def find_api_key_error(self, request: RecordedRequest, wire: FakeProviderApi) -> Status | None:
        """Return the error reply if the request's API key is not accepted; None if it is. Called by the server."""
        if self.accept_keys is None or request.key in self.accept_keys:
            return None
        return wire.make_api_key_error(request.key)

    def replay_or_forward(self, request: RecordedRequest, number: int) -> Reply | None:  # noqa: ARG002 - a `Recorder` counts
        """Return the recorded answer to the request, or a 400 if it was not recorded. Called by the server.

        Returns:
            None if there is no recording, or if a reply is scripted for the request.
        """
        with self._changed:
            if self.replay is None or self._scripts.get(request.model) or self._scripts.get(None):
                return None
            try:
                response = self.replay.next_response(
                    ReplayKey(request.path, request.body).redact_key(request.key)
                )
            except NotRecordedError as error:
                return Status(400, error_code="not_recorded", message=str(error))
        return Raw(response.status, response.body, response.content_type, response.headers)

    def next_reply(self, exchange: ReplyContext) -> Reply:
        """Choose the reply to an accepted request, and remove it from the script. Called by the server."""
        with self._changed:
            for model in (exchange.model, None):
                if script := self._scripts.get(model):
                    return script.popleft()
            default = self._defaults.get(exchange.model, self._defaults.get(None))
        return make_default_reply(exchange.prompt) if default is None else default
