"""What many tests of the chat model ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

CANARY = "sk-canary-0d9e"


class Person(BaseModel):
    """Somebody."""

    name: str = Field(min_length=1, max_length=20)
    age: int


class Task(BaseModel):
    """Something to do."""

    owner: Person
    note: str | None = None


class QualityScores(BaseModel):
    """Points by name."""

    scores: dict[str, int]


class PersonDict(TypedDict):
    """Somebody."""

    name: str
    age: int


def add(first: int, second: int) -> int:
    """Add two numbers."""
    return first + second


def receipt(message: AIMessage) -> dict[str, Any]:
    found = message.response_metadata["receipt"]
    assert isinstance(found, dict)
    return found
