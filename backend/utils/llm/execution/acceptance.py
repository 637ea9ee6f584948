"""The caller's own test of answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..failures import BadAnswer, Category
from ..structured import PARSED_KEY
from .awaiting import at_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import AIMessage

Accept = Callable[[Any], "float | bool | Awaitable[float | bool | None] | None"]
"""A further test of an answer: of the object if there is a schema, else of the message.

False rejects it, and so does a ``ValueError``, whose text is told to the model. A number from 0 to 1 is a score; below the
threshold the answer is rejected. Anything else that it raises is raised.
"""

ENOUGH = 0.8
"""The threshold of the score, where the table does not say."""


@contextmanager
def rejecting() -> Iterator[None]:
    """A ``ValueError`` of the caller's test rejects the answer and says why."""
    try:
        yield
    except ValueError as error:
        raise BadAnswer(Category.INVALID_OUTPUT, str(error)) from error


def accepted_at_once(accept: Accept, message: AIMessage) -> Any:
    """What ``accept`` says of ``message``, where nothing can be awaited."""
    verdict = accept(subject_of(message))
    return at_once(verdict, "accept is asynchronous: it works with ainvoke and astream only")


def subject_of(message: AIMessage) -> Any:
    """What is tested: the object if there is one, else the message."""
    return message.additional_kwargs.get(PARSED_KEY, message)


def score_of(verdict: float | bool | None) -> float | None:  # noqa: FBT001 - what a test said
    """The verdict as a score from 0 to 1; None if it only rejects."""
    if verdict is None or verdict is True:
        return 1.0
    return None if verdict is False else min(1.0, max(0.0, float(verdict)))
