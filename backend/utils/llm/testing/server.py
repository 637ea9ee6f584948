"""The HTTP/1.1 server of a loopback provider, which sends the replies that a `ReplySource` chooses."""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast
from urllib.parse import unquote, urlsplit

from typing_extensions import override

from .anthropic_wire import FakeAnthropicApi
from .delivery import ClientConnection, ClientDisconnectedError, ServerClosingError, send_timed_response
from .embedding_wires import FakeGeminiEmbeddingsApi, FakeOpenAIEmbeddingsApi
from .gemini_wire import FakeGeminiApi
from .openai_wire import FakeOpenAIApi
from .recording import Headers, RecordedRequest
from .replies import Status
from .responses_wire import FakeResponsesApi
from .strict_schemas import find_request_schema_error
from .transmission import ReplyContext, TimedResponse, compose_response

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message

    from .replies import Reply
    from .wire import FakeProviderApi

_OPENAI = FakeOpenAIApi()
_RESPONSES = FakeResponsesApi()
_GEMINI = FakeGeminiApi()
_ANTHROPIC = FakeAnthropicApi()
_GEMINI_EMBEDDINGS = FakeGeminiEmbeddingsApi()
_PATHS: Mapping[str, FakeProviderApi] = {
    "/v1/chat/completions": _OPENAI,
    "/v1/embeddings": FakeOpenAIEmbeddingsApi(),
    "/v1/messages": _ANTHROPIC,
    "/v1/responses": _RESPONSES,
}
_GEMINI_PATH = re.compile(
    r"/v1(?:beta|alpha)?/(?:publishers/google/)?models/(?P<model>.+):"
    r"(?P<verb>generateContent|streamGenerateContent|batchEmbedContents)"
)


class ReplySource(Protocol):
    """Decides what the `LoopbackServer` replies to each request. Its methods are called from many threads.

    Attributes:
        served_suffix: The suffix that answers add to the requested model's name.
        models: The names in the list of models.
    """

    served_suffix: str
    models: tuple[str, ...]

    def record_request(self, request: RecordedRequest) -> int:
        """Record a request on arrival, and return its number, counted from 1."""
        ...

    def find_api_key_error(self, request: RecordedRequest, wire: FakeProviderApi) -> Status | None:
        """Return the error reply if the request's API key is not accepted; None if it is."""
        ...

    def replay_or_forward(self, request: RecordedRequest, number: int) -> Reply | None:
        """Return a recorded answer, or the real provider's; None if the server shall use `next_reply`."""
        ...

    def next_reply(self, exchange: ReplyContext) -> Reply:
        """Choose the reply to an accepted request, and remove it from the script."""
        ...

    def record_disconnect(self, number: int) -> None:
        """Record that the client of request ``number`` disconnected before the end of the response."""


class LoopbackServer(ThreadingMixIn, TCPServer):
    """The HTTP server of a loopback provider, on a free port of 127.0.0.1, with a thread for each connection."""

    allow_reuse_address = True
    request_queue_size = 256
    timeout = 0
    """Seconds that `handle_request` waits."""

    def __init__(self, provider: ReplySource) -> None:
        self.provider = provider
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._waker, self._woken = socket.socketpair()
        super().__init__(("127.0.0.1", 0), _Handler)
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        """The port on which the server listens."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Start to accept connections, in a background thread."""
        self._acceptor.start()

    def stop(self, *, timeout_seconds: float) -> None:
        """Stop accepting, close all connections, and wait at most ``timeout_seconds`` for their threads to end."""
        deadline = time.monotonic() + timeout_seconds
        self.closing.set()
        self._waker.close()
        self._acceptor.join()
        self.server_close()
        for thread, connection in self._open():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(max(0.0, deadline - time.monotonic()))

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        with self._lock:
            self._connections[thread] = request
        thread.start()

    @override
    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                del self._connections[threading.current_thread()]

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback of a bug in the server. Connection errors (``OSError``) are ignored."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def _accept(self) -> None:
        with self._woken, selectors.DefaultSelector() as ready:
            ready.register(self.socket, selectors.EVENT_READ)
            ready.register(self._woken, selectors.EVENT_READ)
            while not self.closing.is_set():
                ready.select()
                self.handle_request()

    def _open(self) -> list[tuple[threading.Thread, socket.socket]]:
        with self._lock:
            return list(self._connections.items())


@dataclass(frozen=True, slots=True)
class _Target:
    """The API that a method and a path lead to."""

    wire: FakeProviderApi
    kind: Literal["generate", "models", "unknown"]
    model: str | None = None
    stream: bool | None = None


class _Handler(BaseHTTPRequestHandler):
    """One connection. The names of the methods are the standard library's."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: requests are recorded instead."""

    def _serve(self) -> None:
        server = cast("LoopbackServer", self.server)
        body = _parse(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        target = _target(self.command, self.path, self.headers)
        request = self._request(target, body or {})
        number = server.provider.record_request(request)
        transmission = _answer(server.provider, target, request, number=number, readable=body is not None)
        try:
            reusable = send_timed_response(transmission, ClientConnection(self.connection, server.closing))
        except ClientDisconnectedError:
            server.provider.record_disconnect(number)
            reusable = False
        except ServerClosingError:
            reusable = False
        self.close_connection = self.close_connection or not reusable

    def _request(self, target: _Target, body: Mapping[str, Any]) -> RecordedRequest:
        return RecordedRequest(
            wire=target.wire.name,
            method=self.command,
            path=urlsplit(self.path).path,
            query=urlsplit(self.path).query,
            model=str(body.get("model") or "") if target.model is None else target.model,
            stream=bool(body.get("stream")) if target.stream is None else target.stream,
            headers=Headers(dict(self.headers.items())),
            body=body,
        )


def _parse(raw: bytes) -> dict[str, Any] | None:
    """The JSON object in the body; empty if the body is, None if it is anything else."""
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _target(method: str, url: str, headers: Message) -> _Target:
    path = unquote(urlsplit(url).path)
    if method == "POST" and path in _PATHS:
        return _Target(_PATHS[path], "generate")
    if method == "POST" and (match := _GEMINI_PATH.fullmatch(path)):
        wire = _GEMINI_EMBEDDINGS if match["verb"] == "batchEmbedContents" else _GEMINI
        return _Target(wire, "generate", match["model"], match["verb"] == "streamGenerateContent")
    if method == "GET" and path == "/v1beta/models":
        return _Target(_GEMINI, "models")
    if method == "GET" and path == "/v1/models":
        return _Target(_ANTHROPIC if "anthropic-version" in headers else _OPENAI, "models")
    return _Target(_wire_of(headers), "unknown")


def _wire_of(headers: Message) -> FakeProviderApi:
    """The wire of a request whose path does not tell, by its headers."""
    if "x-goog-api-key" in headers:
        return _GEMINI
    return _ANTHROPIC if "anthropic-version" in headers else _OPENAI


def _answer(
    provider: ReplySource, target: _Target, request: RecordedRequest, *, number: int, readable: bool
) -> TimedResponse:
    exchange = ReplyContext(
        wire=target.wire,
        number=number,
        model=request.model,
        served_model=f"{request.model}{provider.served_suffix}",
        prompt=target.wire.parse_request(request.body),
        body=request.body,
        stream=request.stream,
    )
    if (answer := provider.replay_or_forward(request, number)) is not None:
        return compose_response(answer, exchange)
    if (refusal := _refusal(provider, target, request)) is not None:
        return compose_response(refusal, exchange)
    if target.kind == "models":
        return TimedResponse(pieces=(json.dumps(target.wire.make_model_list(provider.models)).encode(),))
    return compose_response(provider.next_reply(exchange) if readable else Status(400), exchange)


def _refusal(provider: ReplySource, target: _Target, request: RecordedRequest) -> Status | None:
    """The error for a request with a wrong path, key or schema; None if all are accepted."""
    if target.kind == "unknown":
        return Status(404, message=f"Invalid URL ({request.method} {request.path})")
    if (rejection := provider.find_api_key_error(request, target.wire)) is not None:
        return rejection
    if (fault := find_request_schema_error(request.body)) is not None:
        return Status(400, message=fault)
    return None
