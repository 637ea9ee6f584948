"""Converts providers' tool calls, complete or streamed in pieces, into those of LangChain's messages."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk

from ..transport import check_answer_limit
from .surrogates import may_contain_surrogates, repair_json_surrogates
from .tool_arguments import is_json, is_json_prefix, parse_tool_arguments

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from langchain_core.messages import InvalidToolCall, ToolCall

    from ..transport import ServerTrust

_MOST_BEFORE = 4
"""Pieces of a call's arguments among which an empty object may be no more than a beginning."""


class ToolCallPiece(NamedTuple):
    """A tool call, or a piece of a streamed tool call.

    Attributes:
        place: The provider's index of the call; None if it sends no index.
        id: The call's id; None if this piece has no id.
        name: The tool's name, or a piece of it; None if this piece has no name.
        arguments: The arguments as JSON text, or the next piece of this text.
    """

    place: Hashable | None
    id: str | None
    name: str | None
    arguments: str


def parse_tool_calls(
    calls: Sequence[ToolCallPiece], trust: ServerTrust
) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    """Parse complete tool calls into LangChain's form.

    Calls without an id, or with an earlier call's id, get a new id.

    Returns:
        The calls with valid arguments, and the calls whose arguments are no JSON object.

    Raises:
        AnswerTooLargeError: There are too many calls, or their arguments are too long.
    """
    check_answer_limit(len(calls), trust.most_calls, "tool calls")
    check_answer_limit(
        sum(len(call.arguments) for call in calls), trust.most_arguments, "characters of arguments"
    )
    good: list[ToolCall] = []
    bad: list[InvalidToolCall] = []
    numbers: set[str] = set()
    for call in calls:
        name, number = call.name or "", call.id
        if number is None or number in numbers:
            number = make_tool_call_id()
        numbers.add(number)
        try:
            arguments = parse_tool_arguments(call.arguments) or {}
        except (ValueError, RecursionError) as error:
            bad.append(invalid_tool_call(name=name, args=call.arguments, id=number, error=str(error)))
            continue
        if isinstance(arguments, dict):
            good.append(tool_call(name=name, args=arguments, id=number))
        else:
            fault = "The arguments are no object."
            bad.append(invalid_tool_call(name=name, args=call.arguments, id=number, error=fault))
    return good, bad


def make_tool_call_id() -> str:
    """Make a random id for a tool call, for servers that send no id, or the same id for several calls."""
    return f"call_{uuid4().hex}"


# Streams -------------------------------------------------------------------------------------------------------------


def join_pieces_by_call(pieces: Sequence[ToolCallPiece]) -> Sequence[ToolCallPiece]:
    """Join pieces of the same call, so that there is one piece for each call.

    LangChain takes every piece in a chunk for a separate call.
    """
    found: dict[Hashable, ToolCallPiece] = {}
    for piece in pieces:
        before = found.get(piece.place)
        found[piece.place] = piece if before is None else _with_more(before, piece)
    return list(found.values())


def _with_more(before: ToolCallPiece, piece: ToolCallPiece) -> ToolCallPiece:
    name = f"{before.name or ''}{piece.name or ''}" or None
    return ToolCallPiece(before.place, before.id or piece.id, name, before.arguments + piece.arguments)


def to_tool_call_chunk(piece: ToolCallPiece) -> Any:
    """Convert ``piece``, a piece of a streamed tool call, into LangChain's ``tool_call_chunk``."""
    return tool_call_chunk(name=piece.name, args=piece.arguments, id=piece.id, index=piece.place)  # type: ignore[arg-type]


@dataclass(slots=True)
class _Call:
    """A tool call of a stream.

    Attributes:
        is_id_taken: Whether an earlier call has its id, so that it gets a new one.
        held: The pieces of its arguments that were not passed on yet.
    """

    place: int
    id: str | None = None
    is_id_taken: bool = False
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    checks_left: int = 8
    """How often its arguments may still be checked for being complete. A check takes time in proportion to their length."""

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)

    @property
    def is_quoted(self) -> bool:
        """Whether the arguments begin as a JSON string: some servers encode them as JSON twice."""
        return next(filter(None, self.pieces), "").lstrip().startswith('"')

    def rest(self) -> str:
        """The held arguments, in whole characters and without quotation marks around them."""
        text = repair_json_surrogates("".join(self.held))
        if not self.is_quoted:
            return text
        try:
            return json.dumps(parse_tool_arguments(text))
        except (ValueError, RecursionError):
            return text

    def is_other_than(self, piece: ToolCallPiece) -> bool:
        """Whether ``piece`` begins another call, though it has the same index or id: some servers give all calls one.

        A piece without a name continues its call, under whatever id: some servers change it after the first piece.
        """
        if piece.name is None:
            return False
        if piece.id is not None and self.id is not None and piece.id != self.id:
            return True
        is_begun = piece.name != self.name or piece.arguments.lstrip().startswith("{")
        if not is_begun or not self.checks_left:
            return False
        self.checks_left -= 1
        so_far = self.arguments
        if not so_far or not is_json(so_far):
            return False
        is_same = piece.id is not None and piece.name == self.name
        return not (is_same and _may_repeat(so_far, piece.arguments))

    def news_in(self, arguments: str) -> str:
        """``arguments``, unless they repeat: some servers send an empty object first, or everything again at the end."""
        if len(self.pieces) < _MOST_BEFORE and self.arguments == "{}" and arguments:
            self.pieces, self.held = [], []
            return arguments
        may_repeat = arguments.startswith(("{", '"{')) and bool(self.pieces) and self.pieces[-1].endswith("}")
        if not may_repeat or not self.checks_left:
            return arguments
        self.checks_left -= 1
        return "" if is_json(self.arguments) else arguments

    def take_id(self, call_id: str | None) -> str | None:
        """The id, if it is new, and no other call's."""
        if call_id is None or self.id is not None:
            return None
        self.id = call_id
        return None if self.is_id_taken else call_id

    def take_name(self, name: str | None) -> str | None:
        """The name, or a piece of it, if it is new: some servers repeat the name with every piece of the arguments."""
        if not name or name == self.name or (self.name and any(self.pieces)):
            return None
        self.name += name
        return name


def _may_repeat(before: str, arguments: str) -> bool:
    """Whether ``arguments`` are the complete ones ``before`` once more, or come in place of an empty object."""
    try:
        return before == "{}" or parse_tool_arguments(arguments) == parse_tool_arguments(before)
    except (ValueError, RecursionError):
        return False


class ToolCallAssembler:
    """Assembles the tool calls of one stream from their pieces, and decides when arguments are passed on.

    LangChain parses the arguments in each chunk as incomplete JSON, in quadratic time if they are
    invalid. So arguments beyond a limit are held back until the end of the stream.
    """

    def __init__(self, trust: ServerTrust) -> None:
        self._trust = trust
        self._all: list[_Call] = []
        self._by_place: dict[Hashable, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._characters = 0

    def feed(self, pieces: Sequence[ToolCallPiece]) -> list[ToolCallPiece]:
        """Add the next pieces, and return the pieces to pass on now, without ids and names that were passed on before.

        Calls are numbered from 0 in order of appearance.

        Raises:
            AnswerTooLargeError: There are too many calls, or their arguments are too long.
        """
        return [added for piece in pieces if any((added := self._added(piece))[1:])]

    def _added(self, piece: ToolCallPiece) -> ToolCallPiece:
        call = self._call_of(piece)
        self._characters += len(piece.arguments)
        check_answer_limit(self._characters, self._trust.most_arguments, "characters of arguments")
        told_id, name, arguments = (
            call.take_id(piece.id),
            call.take_name(piece.name),
            call.news_in(piece.arguments),
        )
        call.pieces.append(arguments)
        return ToolCallPiece(call.place, told_id, name, self._passed(call, arguments))

    def _call_of(self, piece: ToolCallPiece) -> _Call:
        """The call that ``piece`` begins or continues. Some servers send no index."""
        if piece.place is not None:
            found = self._by_place.get(piece.place) or self._continued(piece)
        elif piece.id is not None:
            found = self._by_id.get(piece.id)
        else:
            found = self._all[-1] if self._all else None
        return self._begun(piece) if found is None or found.is_other_than(piece) else found

    def _continued(self, piece: ToolCallPiece) -> _Call | None:
        """The call that ``piece`` continues under a new index: some servers number the pieces, not the calls."""
        if piece.name is not None or not self._all:
            return None
        return self._all[-1] if piece.id is None else self._by_id.get(piece.id)

    def _begun(self, piece: ToolCallPiece) -> _Call:
        call = _Call(len(self._all), is_id_taken=piece.id in self._by_id)
        self._all.append(call)
        check_answer_limit(len(self._all), self._trust.most_calls, "tool calls")
        if piece.place is not None:
            self._by_place[piece.place] = call
        if piece.id is not None:
            self._by_id[piece.id] = call
        return call

    def _passed(self, call: _Call, arguments: str) -> str:
        is_whole = self._characters <= self._trust.eager_arguments and not may_contain_surrogates(arguments)
        if is_whole and not call.held and arguments != "{}" and not call.is_quoted:
            return arguments
        call.held.append(arguments)
        return ""

    def make_missing_ids(self) -> list[ToolCallPiece]:
        """Make a piece with a new id for each call without an id, or with the id of an earlier call."""
        return [
            ToolCallPiece(call.place, make_tool_call_id(), None, "")
            for call in self._all
            if call.id is None or call.is_id_taken
        ]

    def flush_arguments(self, *, was_truncated: bool) -> list[ToolCallPiece]:
        """Return the arguments that were held back, one piece for each call. Call this at the end of the stream.

        Args:
            was_truncated: Whether the answer reached its token limit, so that arguments may be incomplete.

        Raises:
            AnswerTooLargeError: Arguments that are not valid JSON have too many characters in total.
        """
        held = [call for call in self._all if any(call.held)]
        if not held:
            return []
        is_fine = is_json_prefix if was_truncated else is_json
        garbage = sum(len(text) for call in held if not is_fine(text := call.arguments))
        check_answer_limit(garbage, self._trust.most_garbage, "characters of arguments that are no JSON")
        return [ToolCallPiece(call.place, None, None, call.rest()) for call in held]
