"""Raise an exception into a call from outside, at any of the moments at which Python lets a signal's handler run."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from inspect import CO_GENERATOR
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

_CALL = "/backend/utils/llm/chat_model.py"
_OURS = ("/backend/utils/llm/", "/httpcore2/", "/h11/", "/aiohttp/", "/asyncio/timeouts.py")
_SWALLOWING = ("/aiohttp/client_reqrep.py:_response_eof", "/aiohttp/client_reqrep.py:write_bytes")
"""Logs what is raised in it, and goes on; from Python 3.12 on is a task of its own, begun at once, which keeps what is raised in it."""


class Moment:
    """The first moment after so many others at which ``error`` may be raised in this thread.

    It is when a function begins, or one in C ends: there a signal's handler would have its turn.

    Attributes:
        left: How many moments are before it.
        raised: Whether it came.
    """

    raised = False

    def __init__(self, number: int, error: BaseException) -> None:
        self.left = number
        self._error = error

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Raise it while this is open."""
        sys.setprofile(self._handler)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _handler(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "c_return" or (event == "call" and not frame.f_code.co_flags & CO_GENERATOR):
            self.left -= 1
            if self.left < 0 and _is_fit(frame):
                sys.setprofile(None)
                self.raised = True
                raise self._error


def moments_of(work: Callable[[], object]) -> int:
    """How many moments ``work`` has."""
    most = sys.maxsize
    moment = Moment(most, RuntimeError())
    with moment.awaited():
        work()
    return most - moment.left


def _is_fit(frame: FrameType) -> bool:
    """Whether it runs for the call, in our code or a library that sends; others may swallow what is raised in them."""
    for code in _stack(frame):
        place = f"{code.co_filename}:{code.co_name}"
        is_swallowed = code.co_name == "__del__" or any(literal in place for literal in _SWALLOWING)
        if is_swallowed or not any(part in place for part in _OURS):
            return False
        if _CALL in place:
            return True
    return False


def _stack(frame: FrameType | None) -> Iterator[CodeType]:
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back
