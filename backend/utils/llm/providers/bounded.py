"""What is read of the answer of a provider that the operator chose: all, but no more than holds the event loop for a moment.

The reader of each API takes time for every part of an answer, and LangChain takes the square of the length of a tool's
arguments if they are no JSON.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk

from ..failures import BadAnswer, Category
from ..transport import HOUSE

if TYPE_CHECKING:
    from collections.abc import Hashable, Sized

SHORT = 4096
"""Bytes of a document in which nothing can be too much."""
MOST_PARTS = 1000
"""Choices, candidates, items or tool calls of an answer. Each takes up to 50 µs to be read."""
MOST_ARGUMENTS = 1_000_000
"""Characters of a stream's tool calls, twice what a model can say."""
EAGER_ARGUMENTS = 2000
"""As many are handed on as they come, what is beyond when all are there: JSON that is not complete, or none, takes long."""
_SEPARATORS = b",:[{"
_LONGEST_NUMBER = 20


def too_much() -> BadAnswer:
    """More than is read. It counts as the provider's failure."""
    return BadAnswer(Category.UNREADABLE, "it was too long")


def read(document: bytes) -> dict[str, Any]:
    """What ``document``, a whole answer or an event, tells.

    Raises:
        BadAnswer: It is no object, or too large.
        ValueError: It is no JSON.
    """
    told = json.loads(document) if len(document) <= SHORT else _long(document)
    if not isinstance(told, dict):
        raise BadAnswer(Category.UNREADABLE)
    return told


def _long(document: bytes) -> Any:
    most = HOUSE.most_values
    if len(document) > most and len(document) - len(document.translate(None, _SEPARATORS)) > most:
        raise too_much()
    return _JSON.decode(document.decode(json.detect_encoding(document), "surrogatepass"))


def _whole_number(text: str) -> int:
    """Python takes the square of a number's length."""
    return int(text[:_LONGEST_NUMBER])


_JSON = json.JSONDecoder(parse_int=_whole_number)


def few(*parts: Sized | None) -> None:
    """Nothing, if they are not too many together.

    Raises:
        BadAnswer: They are.
    """
    if sum(len(part) for part in parts if part is not None) > MOST_PARTS:
        raise too_much()


class Arguments:
    """The arguments of the tool calls of one stream."""

    def __init__(self) -> None:
        self._all: dict[Hashable, list[str]] = {}
        self._held: dict[Hashable, list[str]] = {}
        self._characters = 0

    def add(self, place: Hashable, piece: str) -> str:
        """What may be handed on of ``piece``, the next of the call at ``place``.

        Raises:
            BadAnswer: They are too many calls, or too long.
        """
        self._all.setdefault(place, []).append(piece)
        few(self._all)
        self._characters += len(piece)
        if self._characters > MOST_ARGUMENTS:
            raise too_much()
        if self._characters <= EAGER_ARGUMENTS and place not in self._held:
            return piece
        self._held.setdefault(place, []).append(piece)
        return ""

    def rest(self) -> AIMessageChunk | None:
        """What was held back; None if nothing was.

        Raises:
            BadAnswer: The arguments of such a call are no JSON.
        """
        if not self._held:
            return None
        for place in self._held:
            if not _is_json("".join(self._all[place])):
                raise BadAnswer(Category.UNREADABLE)
        # Put in afterwards: LangChain would read each piece as if it was the whole.
        made = AIMessageChunk(content="", tool_call_chunks=[_piece(place) for place in self._held])
        for piece, held in zip(made.tool_call_chunks, self._held.values(), strict=True):
            piece["args"] = "".join(held)
        return made


def _piece(place: Any) -> Any:
    return tool_call_chunk(name=None, args="", id=None, index=place)


def _is_json(text: str) -> bool:
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True
