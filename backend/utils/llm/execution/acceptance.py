"""Runs the application's own test of answers, the ``accept`` argument of a call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

from ..failures import BadAnswer, FailureCategory
from ..structured import PARSED_KEY
from . import outcome_errors
from .awaiting import reject_awaitable
from .own_thread import (
    StillRunningError,
    await_with_timeout,
    call_without_blocking,
    is_async_callable,
    run_with_timeout,
)

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


def check_accept_signature(accept: Accept, *, is_sync: bool = False) -> None:
    """Check, before any request is sent, that ``accept`` can be called with one argument.

    Args:
        accept: The application's function that tests answers.
        is_sync: Whether the call is synchronous, so that ``accept`` must not be a coroutine function.

    Raises:
        TypeError: ``accept`` cannot be called with one argument, or is asynchronous in a synchronous call.
    """
    if not callable(accept):
        raise TypeError(
            f"accept= is called with each answer: it must be callable, not {type(accept).__name__}"
        )
    if is_sync and is_async_callable(accept):
        raise TypeError(_ASYNC_ACCEPT)
    try:
        parameters = signature(accept)
    except ValueError:  # built in, and does not tell
        return
    try:
        parameters.bind(None)
    except TypeError as fault:
        raise TypeError(f"accept= is called with the answer, and nothing else: {fault}") from None


def run_accept_sync(accept: Accept, message: AIMessage) -> Any:
    """Call ``accept`` with the answer in a synchronous call, and return its result: a bool, a score or None.

    Raises:
        TypeError: ``accept`` returned an awaitable.
    """
    return reject_awaitable(accept(get_accept_argument(message)), _ASYNC_ACCEPT)


def score_answer(accept: Accept, message: AIMessage, dispatch: Dispatch) -> float | None:
    """Run the application's test ``accept`` on the answer ``message``, at most until the call's deadline.

    Returns:
        The score, from 0 to 1; None if the test rejects the answer.

    Raises:
        BadAnswer: ``accept`` raised a ``ValueError``. Its text becomes the reason for the rejection.
        CallTimeoutError: ``accept`` did not return before the deadline.
    """
    with _test_of(dispatch):
        return _score_of(run_with_timeout(partial(run_accept_sync, accept, message), dispatch.seconds_left))


async def ascore_answer(accept: Accept, message: AIMessage, dispatch: Dispatch) -> float | None:
    """Asynchronous version of `score_answer`; ``accept`` may be a coroutine function."""
    with _test_of(dispatch):
        verdict = call_without_blocking(partial(accept, get_accept_argument(message)))
        return _score_of(await await_with_timeout(verdict, dispatch.seconds_left))


@contextmanager
def _test_of(dispatch: Dispatch) -> Iterator[None]:
    """Turn a ``ValueError`` of the caller's test into a rejection of the answer, with its text as the reason."""
    try:
        yield
    except ValueError as error:
        raise BadAnswer(FailureCategory.INVALID_OUTPUT, str(error)) from error
    except StillRunningError:
        raise outcome_errors.accept_timeout_error(dispatch.route) from None


def reject_low_score(score: float | None, candidate: Candidate) -> None:
    """Raise an error if ``score`` is below the threshold for the candidate's tier in the table.

    Raises:
        BadAnswer: The score is too low, or is None because ``accept`` rejected the answer.
    """
    if score is None or score < getattr(candidate.select, "enough", ENOUGH):
        raise BadAnswer(FailureCategory.INVALID_OUTPUT, "it was not accepted")


def get_accept_argument(message: AIMessage) -> Any:
    """Return the argument for ``accept``: the parsed object of a structured answer, otherwise ``message``."""
    return message.additional_kwargs.get(PARSED_KEY, message)


def _score_of(verdict: float | bool | None) -> float | None:  # noqa: FBT001 - what a test said
    """``verdict`` as a score from 0 to 1; None if it gives no score."""
    if verdict is None or verdict is True:
        return 1.0
    return None if verdict is False else min(1.0, max(0.0, float(verdict)))
