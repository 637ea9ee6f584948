"""Parses server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LAST = b"[DONE]"
"""The data of the event that ends a stream of OpenAI's APIs."""
EVENTS = (b"data:", b"event:", b"id:", b"retry:", b":")
"""The prefixes with one of which a stream of events begins."""
BLANK = b" \t\r\n\xef\xbb\xbf"
"""Bytes that may precede a document or events: some servers send them to keep a connection alive."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ServerSentEventParser:
    """Splits a stream of server-sent events (SSE) into the data of each event.

    Attributes:
        is_over: Whether the last event, ``[DONE]``, has arrived.
        name: The name of the event whose data was yielded last; empty if the event has no name.
    """

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._is_new = True
        self.is_over = False
        self.name = ""
        self._next_name = ""
        self._held = 0

    def __len__(self) -> int:
        """The number of bytes of the incomplete event."""
        return len(self._line) + self._held

    def feed(self, part: bytes) -> Iterator[bytes]:
        """Add ``part``, the next bytes of the stream, and yield the data of each event that it completes."""
        if b"\n" not in part and b"\r" not in part and not self._line.endswith(b"\r"):
            self._line += part  # looked through once, however many parts a long line comes in
            return
        text = bytes(self._line) + part if self._line else part
        if b"\r" in text:
            held = text.endswith(b"\r")  # the other half of its end may be in the next part
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            text = text[:-1] + b"\r" if held else text
        if self._is_new:
            self._is_new, text = False, text.removeprefix(_BYTE_ORDER_MARK)
        *lines, begun = text.split(b"\n")
        self._line = bytearray(begun)
        for line in lines:
            if line:
                if self._data and self._begins_anew(line):
                    yield from self._complete()
                self._note(line)
            elif self._data:
                self.name, self._next_name = self._next_name or self.name, ""
                yield from self._complete()

    def flush(self) -> Iterator[bytes]:
        """Yield the data that is left at the end of the stream, where no blank line follows the last event."""
        if line := bytes(self._line).strip():
            if self._data and self._begins_anew(line):
                yield from self._complete()
            self._note(line.removeprefix(_BYTE_ORDER_MARK) if self._is_new else line)
        if self._data:
            self.name = self._next_name or self.name
            yield from self._complete()

    def _begins_anew(self, line: bytes) -> bool:
        """Whether ``line`` begins the next event: some servers send no empty line between events."""
        begins = line.startswith((b"data: {", b"data:{", b"{", b"data: [DONE]", b"data:[DONE]"))
        return begins and self._data[-1].rstrip().endswith(b"}")

    def _note(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            self._held += len(line)
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode(errors="replace")
            if self._data:  # it may be the next event's
                self._next_name = name
            else:
                self.name = name
        elif line.startswith(b"{") and line.rstrip().endswith(b"}"):  # some servers leave the name out
            self._data.append(line)
            self._held += len(line)

    def _complete(self) -> Iterator[bytes]:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data, self._held = [], 0
        self.is_over = self.is_over or data.lstrip().startswith(LAST)
        if not self.is_over and data.strip():
            yield data
        self.name, self._next_name = self._next_name, ""
