"""A local HTTP server that forwards requests to the real providers, and records requests and responses."""

from __future__ import annotations

import http.client
import json
import ssl
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit

from typing_extensions import override

from .exchanges import RecordedExchange, RecordedResponse, ReplayKey, redact_keys, select_recorded_headers
from .loopback import LoopbackProvider
from .replies import Raw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .recording import RecordedRequest
    from .replies import Reply

_OF_THE_CONNECTION: Final = frozenset(
    {"accept-encoding", "connection", "content-length", "host", "transfer-encoding"}
)
_SECONDS: Final = 300.0
"""Seconds without data after which a provider's answer is given up."""


@dataclass(frozen=True)
class UpstreamProvider:
    """A real provider that requests are forwarded to.

    Attributes:
        base_url: The provider's base URL.
        stand_in: The path, such as ``/v1``, that follows the provider's name in URLs at the recorder.
    """

    base_url: str
    stand_in: str


class Recorder(LoopbackProvider):
    """A local HTTP server that forwards each request to the real provider, and records request and response.

    A streamed response is forwarded only when it is complete.

    Args:
        upstreams: The real providers, by name.
    """

    def __init__(self, upstreams: Mapping[str, UpstreamProvider]) -> None:
        super().__init__()
        self._upstreams = dict(upstreams)
        self._exchanges: dict[int, RecordedExchange] = {}

    def recording_url(self, provider_name: str) -> str:
        """Return the base URL through which a client's requests to the provider ``provider_name`` are recorded."""
        return f"{self.origin}/{quote(provider_name, safe='')}{self._upstreams[provider_name].stand_in}"

    @property
    def exchanges(self) -> tuple[RecordedExchange, ...]:
        """The requests and responses recorded so far, in order of the requests."""
        with self._changed:
            return tuple(exchange for _, exchange in sorted(self._exchanges.items()))

    @override
    def replay_or_forward(self, request: RecordedRequest, number: int) -> Reply | None:
        name, _, rest = request.path.removeprefix("/").partition("/")
        upstream = self._upstreams.get(unquote(name))
        if upstream is None:
            return None
        path = f"/{rest}"
        status, content_type, headers, body = _asked(upstream, path, request)
        question = ReplayKey(path, request.body).redact_key(request.key)
        response = RecordedResponse(status, content_type, headers, redact_keys(body, request.key))
        with self._changed:
            self._exchanges[number] = RecordedExchange(question, response)
        return Raw(status, body, content_type, headers)


def _asked(upstream: UpstreamProvider, path: str, request: RecordedRequest) -> RecordedResponse:
    """Send ``request`` to the real provider, and return the answer."""
    base = urlsplit(upstream.base_url.rstrip("/"))
    target = base.path + path.removeprefix(upstream.stand_in) + (f"?{request.query}" if request.query else "")
    headers = {name: value for name, value in request.headers.items() if name not in _OF_THE_CONNECTION}
    with closing(_connection(base.scheme, base.netloc)) as connection:
        connection.request(
            "POST", target, json.dumps(request.body), {**headers, "Accept-Encoding": "identity"}
        )
        response = connection.getresponse()
        body = response.read().decode("utf-8", "replace")
        content_type = response.headers.get("Content-Type", "application/json")
        return RecordedResponse(
            response.status, content_type, select_recorded_headers(dict(response.headers)), body
        )


def _connection(scheme: str, place: str) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(place, timeout=_SECONDS, context=ssl.create_default_context())
    return http.client.HTTPConnection(place, timeout=_SECONDS)
