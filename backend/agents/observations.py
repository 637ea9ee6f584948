"""Converts results of tool calls to what the model is told: truncated if long, and errors without stack trace."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from backend.utils.llm.foreign import visible

if TYPE_CHECKING:
    from .steps import Status

LONGEST: Final = 20_000
"""The most characters of a result that the model is given."""
_UNSEEN: Final = re.compile("[\u200b\U000e0000-\U000e0fff]")
"""What a model reads and no person sees: spaces without width, and letters as tags. Not what scripts and emoji are joined by."""


class ToolError(Exception):
    """Raised by a tool that failed. Its message is sent to the model, and may be shown to the user."""


class Observation(NamedTuple):
    """What the model is told about a tool call.

    Attributes:
        status: Whether the call succeeded, or how it failed.
        content: The result as text, or the error as JSON.
    """

    status: Status
    content: str


def of_result(value: Any) -> Observation:
    """Convert a tool's return value, a text or a JSON-ready value, to what the model is told."""
    if isinstance(value, bytes | bytearray | memoryview):
        return Observation("error", _error("BinaryResult", "The tool returned bytes, which cannot be read."))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return Observation("ok", truncated(readable(text)))


def of_error(error: Exception | SystemExit) -> Observation:
    """Convert a tool's exception to what the model is told.

    Only the message of a `ToolError` is included, because other messages may hold secrets.
    """
    message = readable(str(error)[:500]) if isinstance(error, ToolError) else "The tool failed."
    return Observation("error", _error(type(error).__name__, message))


def of_fault(code: str, message: str, status: Status = "error") -> Observation:
    """Tell the model that a call was not executed, and why, with an error ``code`` and a ``message``."""
    return Observation(status, _error(code, message))


def of_time_out(seconds: float) -> Observation:
    """Tell the model that a tool call took longer than ``seconds``. A result that comes later is ignored."""
    return Observation(
        "timed_out", _error("TimedOut", f"The tool did not answer within {seconds:g} seconds.")
    )


def readable(text: str) -> str:
    """Make ``text`` safe to show a model: control and invisible characters become visible escapes.

    Tabs and line breaks stay.
    """
    plain = visible(text, keep="\n\t\r")
    return _UNSEEN.sub(lambda found: f"\\u{{{ord(found[0]):x}}}", plain)


def truncated(text: str) -> str:
    """Cut out the middle of ``text`` if it is longer than `LONGEST`; otherwise return it unchanged."""
    if len(text) <= LONGEST:
        return text
    left_out = len(text) - LONGEST
    return f"{text[: LONGEST - 2_000]}\n[… {left_out} characters left out …]\n{text[-2_000:]}"


def failure_sentence(content: str) -> str:
    """Read from ``content``, the JSON of an error for the model, why a call failed; empty if ``content`` is empty."""
    return str(json.loads(content)["message"]) if content else ""


def _error(code: str, message: str) -> str:
    return json.dumps({"error": code, "message": message}, ensure_ascii=False)
