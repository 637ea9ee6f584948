"""Removes tracebacks from exceptions, because their frames hold signed requests and answers.

Tools such as Sentry and rich show the local variables of frames. The message of the exception stays.
"""

from __future__ import annotations

from traceback import walk_tb
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_PLACES = 8


def scrub_exception(error: BaseException, outer: BaseException | None = None) -> None:
    """Remove the tracebacks of ``error``, its causes and its contexts. A note on each says where it was raised.

    Args:
        error: The exception, which is changed in place.
        outer: The exception that the caller was already handling; it is left unchanged.
    """
    for item in _chain(error, outer):
        if item.__traceback__ is not None:
            frames = [(frame.f_code, line) for frame, line in walk_tb(item.__traceback__)]
            places = [f"{code.co_filename}:{line} {code.co_name}" for code, line in frames[-MOST_PLACES:]]
            item.__traceback__ = None
            item.add_note("\n".join(["Raised in", *places]))


def clear_exception_details(error: BaseException) -> None:
    """Clear the arguments, attributes, traceback and causes of ``error``, which may quote a model's answer."""
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
