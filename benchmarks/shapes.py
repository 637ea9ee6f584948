"""What is asked for: the same of every peer. Only the standard library, and pydantic where a schema is needed."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from typing_extensions import override

from .answers import ARGUMENTS, FIELDS, STREAMED, TEXT, TOOL

if TYPE_CHECKING:
    from pydantic import BaseModel

Shape = Literal["plain", "stream", "structured", "tools"]
Mode = Literal["async", "sync"]
EXPECTED: dict[Shape, object] = {
    "plain": TEXT,
    "stream": STREAMED,
    "structured": FIELDS,
    "tools": [TOOL, ARGUMENTS],
}
"""What a peer has to make of the first answer: text, the object's fields, or a tool's name and arguments."""


class Task(NamedTuple):
    """One kind of call.

    Attributes:
        prompt: Bytes of the prompt.
        concurrency: Calls in flight: tasks of one event loop, or threads.
        latency: Milliseconds before the provider answers.
        pace: Milliseconds between the events of a stream; at none they come in one piece.
    """

    shape: Shape = "plain"
    mode: Mode = "async"
    concurrency: int = 1
    prompt: int = 1_000
    latency: int = 0
    pace: int = 0

    @override
    def __str__(self) -> str:
        words = [self.shape, self.mode, f"c={self.concurrency}"]
        words += [f"{self.prompt // 1000} KB"] if self.prompt != _SHORT else []
        words += [f"{self.latency} ms latency"] if self.latency else []
        words += [f"{self.pace} ms apart"] if self.pace else []
        return ", ".join(words)


_SHORT = Task().prompt


@cache
def prompt_of(size: int) -> str:
    """So many bytes that read like a transcript."""
    line = "Jonas: I will send the contract by Friday, and Ana looks after the budget of the year.\n"
    return (line * (size // len(line) + 1))[:size]


@cache
def schema() -> type[BaseModel]:
    """The class that a structured answer is to be."""
    from pydantic import BaseModel

    class Summary(BaseModel):
        """What a conversation was about."""

        title: str
        overview: str
        score: int
        done: bool

    return Summary


TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": about,
            "parameters": {
                "type": "object",
                "properties": {argument: {"type": "string", "description": "Where, or what."}},
                "required": [argument],
            },
        },
    }
    for name, about, argument in (
        (TOOL, "The weather in a city, now.", "city"),
        ("find_note", "The user's notes that hold these words.", "words"),
    )
]
"""As OpenAI's API and LangChain's `bind_tools` take them."""
