"""What a model is told of a tool: its result, cut where it is long, or that it failed, without a trace."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from backend.utils.llm.foreign import visible

if TYPE_CHECKING:
    from .steps import Status

LONGEST: Final = 20_000
"""Characters of a result that a model is given."""
_UNSEEN: Final = re.compile("[\u200b\U000e0000-\U000e0fff]")
"""What a model reads and no person sees: spaces without width, and letters as tags. Not what scripts and emoji are joined by."""


class ToolError(Exception):
    """Raised by a tool that could not do what it was asked for. Its message is told to the model, and may be shown to the user."""


class Observation(NamedTuple):
    """What became of a call."""

    status: Status
    content: str


def of_result(value: Any) -> Observation:
    """That of what a tool returned: text, or what JSON can say."""
    if isinstance(value, bytes | bytearray | memoryview):
        return Observation("error", _error("BinaryResult", "The tool returned bytes, which cannot be read."))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return Observation("ok", cut(readable(text)))


def of_error(error: Exception | SystemExit) -> Observation:
    """That of what a tool raised. Only a `ToolError` speaks for itself: others may hold what nobody is to read."""
    message = readable(str(error)[:500]) if isinstance(error, ToolError) else "The tool failed."
    return Observation("error", _error(type(error).__name__, message))


def of_fault(code: str, message: str, status: Status = "error") -> Observation:
    """That of a call which was not made."""
    return Observation(status, _error(code, message))


def of_time_out(seconds: float) -> Observation:
    """That of a tool which took too long. What it returns later is not looked at."""
    return Observation(
        "timed_out", _error("TimedOut", f"The tool did not answer within {seconds:g} seconds.")
    )


def readable(text: str) -> str:
    """``text`` from outside as a model is told it: what acts on a terminal, or says something unseen, is written out."""
    plain = visible(text, keep="\n\t\r")
    return _UNSEEN.sub(lambda found: f"\\u{{{ord(found[0]):x}}}", plain)


def cut(text: str) -> str:
    """``text``, without its middle if it is long."""
    if len(text) <= LONGEST:
        return text
    left_out = len(text) - LONGEST
    return f"{text[: LONGEST - 2_000]}\n[… {left_out} characters left out …]\n{text[-2_000:]}"


def sentence(content: str) -> str:
    """Why a call came to nothing, of what the model is told of it; empty if that says none."""
    return str(json.loads(content)["message"]) if content else ""


def _error(code: str, message: str) -> str:
    return json.dumps({"error": code, "message": message}, ensure_ascii=False)
