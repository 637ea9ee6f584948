"""The caller's own test of answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

from ..failures import BadAnswer, Category
from ..structured import PARSED_KEY
from . import outcome_errors
from .awaiting import at_once
from .own_thread import StillRunningError, answer_of, awaited_in_time, in_time, is_asynchronous

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import AIMessage

    from ..routing.route import Candidate
    from .loop import Dispatch

Accept = Callable[[Any], "float | bool | Awaitable[float | bool | None] | None"]
"""A further test of an answer: of the object if there is a schema, else of the message.

False rejects the answer, and so does a ``ValueError``, whose text is sent to the model. A number from 0 to 1 is a score;
an answer below the threshold is rejected. Other exceptions are raised. A synchronous test runs in a thread of its own,
with the caller's context.
"""

ENOUGH = 0.8
"""The threshold of the score, where the table sets none."""
_ASYNC_ACCEPT = "accept is asynchronous: it works with ainvoke and astream only"


def check_accept(accept: Accept, *, blocks: bool = False) -> None:
    """Check the signature of ``accept`` before anything is sent and paid for.

    Args:
        accept: The test that the call was given.
        blocks: Whether the call is synchronous, so that nothing can be awaited.

    Raises:
        TypeError: ``accept`` cannot be called with one argument, or is asynchronous in a synchronous call.
    """
    if not callable(accept):
        raise TypeError(
            f"accept= is called with each answer: it must be callable, not {type(accept).__name__}"
        )
    if blocks and is_asynchronous(accept):
        raise TypeError(_ASYNC_ACCEPT)
    try:
        parameters = signature(accept)
    except ValueError:  # built in, and does not tell
        return
    try:
        parameters.bind(None)
    except TypeError as fault:
        raise TypeError(f"accept= is called with the answer, and nothing else: {fault}") from None


def verdict_at_once(accept: Accept, message: AIMessage) -> Any:
    """Call ``accept`` with the answer in a synchronous call, and return its verdict, which must not be awaitable."""
    return at_once(accept(subject_of(message)), _ASYNC_ACCEPT)


def score_in_time(accept: Accept, message: AIMessage, dispatch: Dispatch) -> float | None:
    """Run the caller's test on ``message`` within the call's deadline.

    Returns the score, from 0 to 1; None if the test rejects the answer.

    Raises:
        BadAnswer: ``accept`` raised a ``ValueError``, which says why.
        CallTimeoutError: ``accept`` took longer.
    """
    with _test_of(dispatch):
        return _score_of(in_time(partial(verdict_at_once, accept, message), dispatch.seconds_left))


async def ascore_in_time(accept: Accept, message: AIMessage, dispatch: Dispatch) -> float | None:
    """Run the caller's test, which may be asynchronous, on ``message``; as `score_in_time`."""
    with _test_of(dispatch):
        verdict = answer_of(partial(accept, subject_of(message)))
        return _score_of(await awaited_in_time(verdict, dispatch.seconds_left))


@contextmanager
def _test_of(dispatch: Dispatch) -> Iterator[None]:
    """Turn a ``ValueError`` of the caller's test into a rejection of the answer, with its text as the reason."""
    try:
        yield
    except ValueError as error:
        raise BadAnswer(Category.INVALID_OUTPUT, str(error)) from error
    except StillRunningError:
        raise outcome_errors.accept_too_late(dispatch.route) from None


def require_enough(score: float | None, candidate: Candidate) -> None:
    """Raise if the ``score`` of an answer of ``candidate`` is below the threshold of its tier's strategy.

    Raises:
        BadAnswer: The score is too low, or None because ``accept`` rejected the answer.
    """
    if score is None or score < getattr(candidate.select, "enough", ENOUGH):
        raise BadAnswer(Category.INVALID_OUTPUT, "it was not accepted")


def subject_of(message: AIMessage) -> Any:
    """The argument for the caller's test: the parsed object of a structured answer, else ``message``."""
    return message.additional_kwargs.get(PARSED_KEY, message)


def _score_of(verdict: float | bool | None) -> float | None:  # noqa: FBT001 - what a test said
    """``verdict`` as a score from 0 to 1; None if it gives no score."""
    if verdict is None or verdict is True:
        return 1.0
    return None if verdict is False else min(1.0, max(0.0, float(verdict)))
