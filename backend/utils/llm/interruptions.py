"""Exceptions that the application raises into a waiting call from outside: a task queue's time limit, a test's alarm.

They are raised at whatever line is running, and the code around that line may take them for a failure of its own: an HTTP
library turns every `OSError` into a connection error. They are recognised by where they were raised (in the handler of a
signal) or by their class (of no library that a call runs through).
"""

from __future__ import annotations

import sys
from inspect import CO_VARARGS
from itertools import pairwise, starmap
from traceback import walk_tb
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_FACADE = f"{__package__}."
_LIBRARIES = sys.stdlib_module_names | {
    "aiohappyeyeballs",
    "aiohttp",
    "aiosignal",
    "anthropic",
    "anyio",
    "frozenlist",
    "genai_prices",
    "google",
    "h11",
    "httpcore2",
    "httpx2",
    "idna",
    "langchain_anthropic",
    "langchain_core",
    "langchain_google_genai",
    "langchain_openai",
    "multidict",
    "openai",
    "pydantic",
    "pydantic_core",
    "uvloop",
    "yarl",
}
"""What runs within an attempt, ourselves apart."""


def find_interruption(error: BaseException) -> BaseException | None:
    """Find the exception that the application raised into an attempt from outside, such as a task's time limit.

    Searches ``error`` and its chain of causes and contexts. None if there is no such exception.
    """
    return next(filter(_is_from_outside, _chain(error)), None)


def is_external_interruption(error: BaseException) -> bool:
    """Whether ``error``, from a callable of the application, was raised into it from outside, as by a signal.

    An exception from outside is raised to the application; any other is a failure of the callable itself.
    """
    if find_interruption(error) is not error:
        return False
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    is_ours_alone = all(_is_on_the_way(frame.f_globals.get("__name__", "")) for frame in frames)
    return is_ours_alone or any(starmap(_is_handler, pairwise(frames)))


def raise_without_context(interruption: BaseException) -> NoReturn:
    """Raise ``interruption`` itself, without the chain of exceptions that libraries raised because of it."""
    try:
        raise interruption
    finally:
        interruption.__context__ = None
        del interruption


def _is_from_outside(error: BaseException) -> bool:
    """Whether ``error`` was raised during a call, and by no code that a call runs through.

    An exception that the caller was already handling was raised elsewhere; it may be the context of any error.
    """
    trace, package = error.__traceback__, type(error).__module__.partition(".")[0]
    if trace is None or not _is_on_the_way(trace.tb_frame.f_globals.get("__name__", "")):
        return False
    if package in sys.stdlib_module_names:
        return any(starmap(_is_handler, pairwise(frame for frame, _ in walk_tb(trace))))
    return not _is_on_the_way(type(error).__module__)


def _is_handler(interrupted: FrameType, frame: FrameType) -> bool:
    """Whether ``frame`` handles a signal: only a handler is passed the interrupted frame."""
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount + bool(code.co_flags & CO_VARARGS)]
    given = [frame.f_locals.get(name) for name in names]
    held = [*given, *(item for some in given if isinstance(some, tuple) for item in some)]
    return any(item is interrupted for item in held)


def _is_on_the_way(module: str) -> bool:
    return module.partition(".")[0] in _LIBRARIES or f"{module}.".startswith(_FACADE)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__context__, one.__cause__]
