"""What the product does with models. No module says which model that is: `llm.toml` does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import sqrt
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel
from utils.llm import carrying, get_embeddings, get_llm, receipts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

threads = carrying(ThreadPoolExecutor(4))  # its work is done on behalf of whoever submits it


class Task(BaseModel):
    """Something to do."""

    what: str
    who: str | None = None


class Tasks(BaseModel):
    """All that is to be done."""

    tasks: list[Task]


class Label(BaseModel):
    """What a note is about."""

    label: Literal["family", "health", "money", "work", "other"]


def title(note: str) -> str:
    """A title for ``note``."""
    return (
        get_llm("title")
        .invoke(f"A title of at most six words for this note, and nothing else:\n\n{note}")
        .text
    )


async def tasks(note: str) -> tuple[Tasks, str | None]:
    """What ``note`` leaves to do, and what it cost in dollars to find out."""
    model = get_llm("tasks").with_structured_output(Tasks)
    with receipts() as seen:
        found = await model.ainvoke(f"What is to be done, and by whom?\n\n{note}")
    return found, seen[0]["cost_usd"]


async def answer(question: str) -> AsyncIterator[str]:
    """An answer, piece by piece."""
    async for chunk in get_llm("answer").astream(question):
        if chunk.text:
            yield chunk.text


def label(notes: list[str]) -> list[str]:
    """A label for each of ``notes``, four at a time."""
    return [found.label for found in threads.map(_label, notes)]


def _label(note: str) -> Label:
    return get_llm("label").with_structured_output(Label).invoke(f"Which label fits this note?\n\n{note}")


async def nearest(query: str, notes: list[str]) -> str:
    """The note that is nearest to ``query``."""
    embeddings = get_embeddings("memories")
    wanted = await embeddings.aembed_query(query)
    vectors = await embeddings.aembed_documents(notes)
    return max(zip(notes, vectors, strict=True), key=lambda pair: _cosine(wanted, pair[1]))[0]


def _cosine(one: list[float], other: list[float]) -> float:
    lengths = sqrt(sum(x * x for x in one)) * sqrt(sum(x * x for x in other))
    return sum(x * y for x, y in zip(one, other, strict=True)) / lengths if lengths else 0.0
