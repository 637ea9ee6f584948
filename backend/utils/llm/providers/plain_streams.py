"""What is taken of a stream whose sender nobody here knows: as of a whole answer, in no more chunks than can be joined.

LangChain joins all chunks of a stream at its end, and reads the arguments of tools in each as JSON that is not complete
yet: garbage costs it the square of its length. So a call is told when it begins, and its arguments when all of them
are there.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from .plain_answers import (
    LONGEST_REFUSAL,
    MOST_ARGUMENTS,
    MOST_CALLS,
    MOST_LIKELY,
    MOST_TEXT,
    an_object,
    named,
    objects,
    plain_likely,
    plain_text,
    plain_usage,
    short,
    told_likely,
    within,
)

if TYPE_CHECKING:
    from .plain_answers import Told

EAGER = 250
"""So many chunks hold one event each, as many again two, and so on: of 200,000 events there are 10,000 chunks."""
MOST_GARBAGE = 1000
"""Characters of arguments that are no JSON, of all calls together."""


class PlainStream:
    """Takes events in, and gives fewer, plain ones."""

    def __init__(self) -> None:
        self._calls = _Calls()
        self._given = self._said = self._refused = self._likely = 0
        self._names: dict[str, str] = {}
        self._reason: str | None = None
        self._usage: dict[str, Any] | None = None
        self._begin()

    def _begin(self) -> None:
        self._waiting = 0
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._tokens: list[dict[str, Any]] = []
        self._pieces: list[dict[str, Any]] = []

    def add(self, event: Told) -> dict[str, Any] | None:
        """What is to be handed on once ``event`` has come, as an event; None if nothing is.

        Raises:
            OwnEndpointError: The answer is too long.
        """
        self._usage = plain_usage(event.get("usage")) or self._usage
        choice = next((one for one in objects(event.get("choices")) if not one.get("index")), None)
        if choice is None:
            return None
        self._names = self._names or named(event)
        self._reason = self._reason or short(choice.get("finish_reason"))
        self._note(choice, an_object(choice.get("delta")))
        self._weigh()
        return self._made() if self._pieces or self._waiting > self._given // EAGER else None

    def rest(self) -> dict[str, Any] | None:
        """What is left when no more comes: also how it ended, and what it used. None if nothing ever came.

        Raises:
            OwnEndpointError: Too many arguments are no JSON.
        """
        self._pieces += self._calls.arguments()
        if not (self._names or self._given or self._waiting or self._usage):
            return None
        return {**self._made(self._reason), **self._names, "usage": self._usage}

    def _note(self, choice: Told, delta: Told) -> None:
        self._waiting += 1
        self._texts.append(plain_text(delta.get("content")))
        self._refusals.append(plain_text(delta.get("refusal")))
        self._tokens += (tokens := plain_likely(choice))
        self._pieces += self._calls.begun_by(objects(delta.get("tool_calls")))
        self._said += len(self._texts[-1])
        self._refused += len(self._refusals[-1])
        self._likely += len(tokens)

    def _weigh(self) -> None:
        within(self._said, MOST_TEXT, "characters")
        within(self._refused, LONGEST_REFUSAL, "characters of a refusal")
        within(self._likely, MOST_LIKELY, "tokens with their probabilities")

    def _made(self, reason: str | None = None) -> dict[str, Any]:
        delta = {
            "role": "assistant",
            "content": "".join(self._texts),
            "refusal": "".join(self._refusals),
            "tool_calls": self._pieces,
        }
        choice = {"index": 0, "delta": delta, "finish_reason": reason, **told_likely(self._tokens)}
        self._given += 1
        self._begin()
        return {"choices": [choice]}


class _Call(NamedTuple):
    place: int
    id: str | None
    pieces: list[str]


class _Calls:
    """The tool calls of one stream."""

    def __init__(self) -> None:
        self._all: list[_Call] = []
        self._open: dict[int, _Call] = {}
        self._characters = 0

    def begun_by(self, pieces: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Note ``pieces``; of the calls that begin with one, the beginnings.

        Raises:
            OwnEndpointError: They are too many, or too long.
        """
        counted = [piece for piece in pieces if type(piece.get("index")) is int]
        return [begun for piece in counted if (begun := self._noted(piece)) is not None]

    def _noted(self, piece: dict[str, Any]) -> dict[str, Any] | None:
        function = an_object(piece.get("function"))
        arguments = plain_text(function.get("arguments"))
        self._characters += len(arguments)
        within(self._characters, MOST_ARGUMENTS, "characters of arguments")
        call = self._call(piece["index"], short(piece.get("id")))
        call.pieces.append(arguments)
        is_first = len(call.pieces) == 1
        return _piece(call.place, short(function.get("name")) or "", "", call.id) if is_first else None

    def _call(self, index: int, told_id: str | None) -> _Call:
        """The call that a piece belongs to. Some servers count none, and give each call the same place."""
        call = self._open.get(index)
        if call is None or (told_id and call.id and told_id != call.id):
            call = self._open[index] = _Call(len(self._all), told_id, [])
            self._all.append(call)
            within(len(self._all), MOST_CALLS, "tool calls")
        return call

    def arguments(self) -> list[dict[str, Any]]:
        """Those of all calls."""
        whole = {call.place: "".join(call.pieces) for call in self._all}
        garbage = sum(len(text) for text in whole.values() if not _is_json(text))
        within(garbage, MOST_GARBAGE, "characters of arguments that are no JSON")
        return [_piece(place, None, text) for place, text in whole.items() if text]


def _piece(place: int, name: str | None, arguments: str, id: str | None = None) -> dict[str, Any]:  # noqa: A002 - the API's
    return {"index": place, "id": id, "function": {"name": name, "arguments": arguments}}


def _is_json(text: str) -> bool:
    try:
        json.loads(text or "{}", strict=False)
    except (ValueError, RecursionError):
        return False
    return True
