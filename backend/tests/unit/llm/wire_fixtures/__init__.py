"""What providers, gateways and local servers are known to send as an answer, and what we give for it.

A line of a ``*.jsonl`` file is one answer; adding one is adding a line, or a file. The bytes have the shape that the source
tells, in our own words. Each line has

- ``source``: where it is documented or reported, ``none`` if nobody did and we thought of it, and ``why``: what is odd about it,
- ``api``: ``chat``, ``responses``, ``gemini`` or ``anthropic``,
- what is sent: ``stream``, a list of events (an object, or a text that is sent as it is), ``whole``, a document, or ``body``,
  a text. What is missing is sent all the same: a whole answer where a stream was asked, and the other way round. ``done``
  is false if a stream has no ``[DONE]``, ``type`` the content type, ``encoding`` is ``gzip`` if it is packed,
- ``gives``: ``text``, ``thoughts``, ``calls`` as pairs of a name and arguments, ``finish``, and ``usage`` as the numbers of
  tokens in and out, those cached, those written to a cache, and those thought; null if none was told, and the receipt's is
  an estimate. For what is no answer it has the ``category``. ``stream_gives`` holds what else a stream gives.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Gives(NamedTuple):
    """What a call gives for an answer."""

    text: str = ""
    thoughts: str = ""
    calls: list[list[Any]] = []  # noqa: RUF012 - never written to
    finish: str | None = "stop"
    usage: list[int] | None = None
    category: str | None = None


class Row(NamedTuple):
    """An answer as it is sent."""

    name: str
    api: str
    sent: dict[str, Any]
    gives: Gives
    stream_gives: Gives

    def reply(self, *, streams: bool) -> tuple[dict[str, str], bytes]:
        """The headers and the body, as they are sent to who asked for a stream, or for a whole answer."""
        kind, body = self._body(streams=streams)
        if "encoding" not in self.sent:
            return {"content-type": kind}, body
        return {"content-type": kind, "content-encoding": self.sent["encoding"]}, gzip.compress(body)

    def _body(self, *, streams: bool) -> tuple[str, bytes]:
        if "body" in self.sent:
            return self.sent.get("type", "application/json"), self.sent["body"].encode()
        if "stream" in self.sent and (streams or "whole" not in self.sent):
            return self.sent.get("type", "text/event-stream"), _events(self.sent, self.api)
        return self.sent.get("type", "application/json"), json.dumps(self.sent["whole"]).encode()


def _events(sent: dict[str, Any], api: str) -> bytes:
    events = [one if isinstance(one, str) else f"data: {json.dumps(one)}\n\n" for one in sent["stream"]]
    is_told = sent.get("done", api == "chat")
    return "".join([*events, "data: [DONE]\n\n" if is_told else ""]).encode()


def _read() -> Iterator[Row]:
    for file in sorted(Path(__file__).parent.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            told = json.loads(line)
            gives = told["gives"]
            yield Row(
                f"{file.stem}: {told['why']} ({told['source']})",
                told["api"],
                told,
                Gives(**gives),
                Gives(**{**gives, **told.get("stream_gives", {})}),
            )


ALL: Final = tuple(_read())
