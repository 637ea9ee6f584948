"""Removes tracebacks from exceptions: their frames hold signed requests and unread answers.

Sentry and rich show the local variables of frames. The message of the exception stays.
"""

from __future__ import annotations

from traceback import walk_tb
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_PLACES = 8


def scrub_exception(error: BaseException, outer: BaseException | None = None) -> None:
    """Remove the tracebacks of ``error``, its causes and its contexts; a note on each says where it was raised.

    Args:
        error: The exception, which is changed.
        outer: The exception that the caller was already handling, which is not changed.
    """
    for one in _chain(error, outer):
        if one.__traceback__ is not None:
            frames = [(frame.f_code, line) for frame, line in walk_tb(one.__traceback__)]
            places = [f"{code.co_filename}:{line} {code.co_name}" for code, line in frames[-MOST_PLACES:]]
            one.__traceback__ = None
            one.add_note("\n".join(["Raised in", *places]))


def erase(error: BaseException) -> None:
    """Clear the message, attributes and traceback of ``error``, which may quote an answer and is not raised again."""
    error.args = ()
    vars(error).clear()
    error.__traceback__ = error.__cause__ = error.__context__ = None


def _chain(error: BaseException, outer: BaseException | None) -> Iterator[BaseException]:
    seen, waiting = {id(outer)}, [error]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        waiting += [other for other in (one.__cause__, one.__context__, *inner) if other is not None]
