"""A provider on the loopback interface: real sockets, every wire, no model.

``LoopbackProvider`` serves OpenAI's Chat Completions and Responses, Gemini's REST API and Anthropic's Messages API at one
address, from a script or by rule, and records every request. It speaks HTTP/1.1 with keep-alive, with a thread per connection.
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
from .responder import respond
from .server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import TracebackType

    from .exchanges import Replay
    from .replies import Reply
    from .transmission import Exchange
    from .wire import Wire

_CLOSE_SECONDS = 5.0

Requests: TypeAlias = tuple[RecordedRequest, ...]


class LoopbackProvider:
    """A provider for tests: ``with LoopbackProvider() as provider: …``.

    Any number of clients may call the provider at once. A request's reply is chosen when it has been read: the next
    scripted for its model, else the next scripted for any model, else the reply set by ``always``, else that of
    ``responder.respond``. Requests with a rejected key, to an unknown path, or for the list of models use up no reply.

    Args:
        accept_keys: The credentials to accept; None accepts any, and requests without a credential.
        served_suffix: The suffix that answers add to the requested model's name.
        models: The names in the list of models.
        replay: A recording with the answers for requests without a scripted reply. See `recordings`.
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
        self._server: Server | None = None
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
        """Listen on a free port of 127.0.0.1. Starting twice changes nothing."""
        if self._server is None:
            self._server = Server(self)
            self._server.start()
        return self

    def close(self) -> None:
        """Drop every connection, wake every waiting reply, and free the port. Closing twice changes nothing."""
        if self._server is not None:
            self._server.stop(timeout_seconds=_CLOSE_SECONDS)
            self._server = None

    @property
    def origin(self) -> str:
        """The address, ``http://127.0.0.1:PORT``.

        Raises:
            RuntimeError: The provider is not running.
        """
        if self._server is None:
            raise RuntimeError("The loopback provider is not running; use it as a context manager.")
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def openai_url(self) -> str:
        """The ``base_url`` for OpenAI's clients."""
        return f"{self.origin}/v1"

    @property
    def gemini_url(self) -> str:
        """The ``base_url`` for Gemini's clients."""
        return self.origin

    @property
    def anthropic_url(self) -> str:
        """The ``base_url`` for Anthropic's clients."""
        return self.origin

    @property
    def requests(self) -> Requests:
        """Every request so far, in order of arrival."""
        with self._changed:
            return tuple(self._requests.values())

    def script(self, *replies: Reply, model: str | None = None) -> None:
        """Queue replies, one for each request; with ``model``, only for requests for that model."""
        with self._changed:
            self._scripts[model].extend(replies)

    def always(self, reply: Reply, *, model: str | None = None) -> None:
        """Set the reply to requests for which no reply is scripted; with ``model``, only to requests for that model."""
        with self._changed:
            self._defaults[model] = reply

    def clear(self) -> None:
        """Forget all recorded requests, scripted replies, and replies set by `always`."""
        with self._changed:
            self._requests.clear()
            self._scripts.clear()
            self._defaults.clear()

    def wait_until(self, holds: Callable[[Requests], bool], *, timeout_seconds: float = 5.0) -> bool:
        """Block until ``holds(requests)`` is true, and return True; return False after ``timeout_seconds``."""
        with self._changed:
            return self._changed.wait_for(lambda: holds(tuple(self._requests.values())), timeout_seconds)

    def admit(self, request: RecordedRequest) -> int:
        """Record a request on arrival, and return its number, from 1. Called by the server."""
        with self._changed:
            self._count += 1
            self._requests[self._count] = replace(request, arrived_at=time.monotonic())
            self._changed.notify_all()
            return self._count

    def abandoned(self, number: int) -> None:
        """Record that the client of request ``number`` disconnected before the reply's end. Called by the server."""
        with self._changed:
            if number in self._requests:
                self._requests[number] = replace(self._requests[number], closed_by_client=True)
                self._changed.notify_all()

    def rejection(self, request: RecordedRequest, wire: Wire) -> Status | None:
        """The error for a request whose key is not accepted; None if the key is accepted. Called by the server."""
        if self.accept_keys is None or request.key in self.accept_keys:
            return None
        return wire.rejected_key(request.key)

    def answered(self, request: RecordedRequest, number: int) -> Reply | None:  # noqa: ARG002 - a `Recorder` counts
        """The recorded answer, or a 400 if there is none. Called by the server.

        None without a recording, or if a reply is scripted.
        """
        with self._changed:
            if self.replay is None or self._scripts.get(request.model) or self._scripts.get(None):
                return None
            try:
                said = self.replay.answer(ReplayKey(request.path, request.body).without(request.key))
            except NotRecordedError as error:
                return Status(400, error_code="not_recorded", message=str(error))
        return Raw(said.status, said.body, said.content_type, said.headers)

    def next_reply(self, exchange: Exchange) -> Reply:
        """Take the next reply, for an accepted request. Called by the server."""
        with self._changed:
            for model in (exchange.model, None):
                if script := self._scripts.get(model):
                    return script.popleft()
            default = self._defaults.get(exchange.model, self._defaults.get(None))
        return respond(exchange.prompt) if default is None else default
