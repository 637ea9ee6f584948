"""Takes out of an exception what was at hand where it was raised: a signed request, an answer that nobody has read.

Whoever is told of it may look into the frames of its traceback, as Sentry does and rich. What it says stays.
"""

from __future__ import annotations

from traceback import walk_tb
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_PLACES = 8


def scrub_exception(error: BaseException, outer: BaseException | None = None) -> None:
    """Leave neither ``error``, nor any exception that it came of, a traceback; where each was raised becomes a note.

    Args:
        error: It is changed.
        outer: What was being handled anyway. It is somebody else's, and left as it is.
    """
    for one in _chain(error, outer):
        if one.__traceback__ is not None:
            frames = [(frame.f_code, line) for frame, line in walk_tb(one.__traceback__)]
            places = [f"{code.co_filename}:{line} {code.co_name}" for code, line in frames[-MOST_PLACES:]]
            one.__traceback__ = None
            one.add_note("\n".join(["Raised in", *places]))


def erase(error: BaseException) -> None:
    """Let ``error``, which may quote an answer, say nothing: it goes no further."""
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
