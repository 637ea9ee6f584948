"""JSON out, JSON in, past an SDK's own request path, on the transport that the SDK itself would use.

An SDK walks every request through its types, and every answer into objects that the adapter takes apart again: two
thirds of what a call costs. The adapter's words are JSON already, and so are its answers. What the SDK's path does
besides is the transport's business here (addresses, keys, time, retries), or is kept: its headers, its exceptions.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2

from ..transport import ERROR_STATUS, TICKET_HEADER, Request

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping

    from ..transport import AsyncReply, Reply, SigningTransport

    Joining = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any] | None]

LAST = b"[DONE]"
"""The data of the event that ends a stream of OpenAI's."""
EAGER = 250
"""So many events of a stream are told one by one. From then on those that came together are joined, if they can be."""


class Event(NamedTuple):
    """One event of a stream: its name, empty if it has none, and its data."""

    name: str
    data: bytes


class Direct:
    """Sends requests of one client.

    Args:
        base_url: The provider's.
        headers: What the SDK would send with every request.
        raising: Makes the SDK's exception from an error answer.
        reading: Reads JSON.
        joining: Makes one event of two, or None of those that stay two.
    """

    def __init__(
        self,
        transport: SigningTransport,
        base_url: str,
        headers: Mapping[str, str],
        raising: Callable[[httpx2.Response], Exception],
        reading: Callable[[bytes], dict[str, Any]],
        joining: Joining | None = None,
    ) -> None:
        self._reading = reading
        self._joining = joining
        self._transport = transport
        self._base_url = base_url.rstrip("/")
        self._headers = {name.lower(): value for name, value in headers.items()}
        self._raising = raising

    def ask(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
        """The answer to ``body``, whole.

        Args:
            path: Below the base URL.
            body: What becomes the request's JSON.
            headers: Of this request; among them its ticket's number.

        Raises:
            Exception: The SDK's own, if the provider answers with an error.
            httpx2.TransportError: No answer came, or not all of it.
            ValueError: The answer is no JSON.
        """
        return self._reading(self._send(path, body, headers).read())

    async def aask(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
        """As `ask`."""
        return self._reading(await (await self._asend(path, body, headers)).read())

    def events(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> Generator[dict[str, Any]]:
        """The answer to ``body``, event by event, up to the one that says that it was the last. To be closed if it is left before its end.

        Raises:
            Exception: As of `ask`.
        """
        stream, reply = _Stream(self._reading, self._joining), self._send(path, body, headers)
        if reply.body is None:
            return
        try:
            for part in reply.body:
                yield from stream.read(part, has_more=reply.body.has_more)
                if stream.is_over:
                    reply.body.drain()
                    return
            yield from stream.rest()
        finally:
            reply.body.close()

    async def aevents(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> AsyncGenerator[dict[str, Any]]:
        """As `events`."""
        stream, reply = _Stream(self._reading, self._joining), await self._asend(path, body, headers)
        if reply.body is None:
            return
        try:
            async for part in reply.body:
                for told in stream.read(part, has_more=reply.body.has_more):
                    yield told
                if stream.is_over:
                    await reply.body.drain()
                    return
            for told in stream.rest():
                yield told
        finally:
            reply.body.close()

    def _send(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply:
        reply = self._transport.send(headers.get(TICKET_HEADER), self._request(path, body, headers))
        self._raise_for(reply)
        return reply

    async def _asend(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> AsyncReply:
        reply = await self._transport.asend(headers.get(TICKET_HEADER), self._request(path, body, headers))
        self._raise_for(reply)
        return reply

    def _request(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Request:
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        return Request(f"{self._base_url}{path}", {**self._headers, **headers}, content)

    def _raise_for(self, reply: Reply | AsyncReply) -> None:
        if reply.status >= ERROR_STATUS:
            raise self._raising(
                httpx2.Response(
                    reply.status,
                    headers={"content-type": reply.headers.get("content-type", "")},
                    content=reply.content,
                    request=httpx2.Request("POST", self._base_url),
                )
            )


class _Stream:
    """Reads the events of one stream.

    Attributes:
        is_over: Whether the last one has come.
    """

    def __init__(self, reading: Callable[[bytes], dict[str, Any]], joining: Joining | None) -> None:
        self._reading = reading
        self._joining = joining
        self._reader = _Reader()
        self._count = 0
        self._waiting: dict[str, Any] | None = None
        self.is_over = False

    def read(self, part: bytes, *, has_more: bool) -> Iterator[dict[str, Any]]:
        """What the events tell that ``part`` completes. If more has come already, the last one waits for it."""
        all_told = self._told(self._reader.read(part))
        if self._joining is None or self._count < EAGER:
            yield from all_told
            return
        try:
            yield from self._joined(all_told, self._joining)
        except Exception:
            yield from self._flushed()
            raise
        if self.is_over or not has_more:
            yield from self._flushed()

    def rest(self) -> Iterator[dict[str, Any]]:
        """The last event, if the stream ended without saying so."""
        return self._told(self._reader.rest())

    def _told(self, events: Iterator[Event]) -> Iterator[dict[str, Any]]:
        for event in events:
            if event.data.startswith(LAST):
                self.is_over = True
                return
            self._count += 1
            yield self._reading(event.data)

    def _joined(self, all_told: Iterator[dict[str, Any]], joining: Joining) -> Iterator[dict[str, Any]]:
        for told in all_told:
            joined = joining(self._waiting, told) if self._waiting is not None else None
            if joined is None:
                yield from self._flushed()
            self._waiting = told if joined is None else joined

    def _flushed(self) -> Iterator[dict[str, Any]]:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            yield waiting


class _Reader:
    """Takes a stream apart into its events."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._name = ""
        self._data: list[bytes] = []

    def read(self, part: bytes) -> Iterator[Event]:
        """The events that ``part`` completes."""
        if b"\n" not in part and b"\r" not in part and not self._line.endswith(b"\r"):
            self._line += part  # looked through once, however many parts a long line comes in
            return
        text = bytes(self._line) + part if self._line else part
        if b"\r" in text:
            held = text.endswith(b"\r")  # the other half of its end may be in the next part
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            text = text[:-1] + b"\r" if held else text
        *lines, begun = text.split(b"\n")
        self._line = bytearray(begun)
        for line in lines:
            if line:
                self._note(line)
            elif self._data:
                yield self._complete()

    def rest(self) -> Iterator[Event]:
        """The last event, if the stream ended without saying so."""
        if line := bytes(self._line).strip():
            self._note(line)
        if self._data and not self._data[0].startswith(LAST):
            yield self._complete()

    def _note(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif line.startswith(b"event:"):
            self._name = line[6:].strip().decode(errors="replace")

    def _complete(self) -> Event:
        event = Event(self._name, b"\n".join(self._data))
        self._name, self._data = "", []
        return event
