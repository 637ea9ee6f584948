"""The requests that a loopback provider has received."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typing_extensions import override

if TYPE_CHECKING:
    from .wire import WireName

_SECRET = frozenset({"authorization", "x-goog-api-key", "x-api-key", "api-key", "cookie"})


class Headers(Mapping[str, str]):
    """Headers by lower-case name; look-ups ignore case. The ``repr`` hides credentials."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name.lower(): value for name, value in values.items()}

    @override
    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    @override
    def __len__(self) -> int:
        return len(self._values)

    @override
    def __repr__(self) -> str:
        shown = {name: "***" if name in _SECRET else value for name, value in self._values.items()}
        return f"Headers({shown!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """A request that the loopback provider received.

    Attributes:
        wire: The API that its path belongs to: ``openai``, ``gemini`` or ``anthropic``.
        method: ``GET`` or ``POST``.
        path: The path, without the query.
        query: The part after the ``?``; empty if there is none.
        model: The requested model; empty for a list of models.
        stream: Whether the request asks for server-sent events.
        headers: The headers, by lower-case name; their ``repr`` hides credentials.
        body: The parsed JSON; empty if there was no body, or it was not an object.
        arrived_at: The time of arrival, in seconds of the monotonic clock.
        closed_by_client: Whether the client disconnected before the end of the response. This is noticed for
            ``Trickle``, ``SlowFirstByte`` and ``Hang``, but not for a reply that is sent in one piece.
    """

    wire: WireName
    method: str
    path: str
    model: str
    stream: bool
    headers: Headers
    body: Mapping[str, Any]
    arrived_at: float = 0.0
    closed_by_client: bool = False
    query: str = ""

    @property
    def key(self) -> str | None:
        """The API key of the request, without ``Bearer``; None if it has no key."""
        bearer = self.headers.get("authorization", "").removeprefix("Bearer ").strip()
        named = (self.headers.get(name) for name in ("x-goog-api-key", "x-api-key", "api-key"))
        return bearer or next(filter(None, named), None)
