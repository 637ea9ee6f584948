"""Converts results of tool calls to what the model is told: long texts truncated, and errors without stack trace."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from backend.utils.llm.foreign import escape_control_characters

if TYPE_CHECKING:
    from .steps import Status

LONGEST: Final = 20_000
"""The most characters of a result that the model is given."""
_UNSEEN: Final = re.compile("[\u200b\U000e0000-\U000e0fff]")
"""What a model reads and no person sees: spaces without width, and letters as tags. Not what scripts and emoji are joined by."""


class ToolError(Exception):
    """Raise this in a tool to report a failure. The message is sent to the model, and may be shown to the user."""


class ToolObservation(NamedTuple):
    """The result of a tool call as the model receives it.

    Attributes:
        status: Whether the call succeeded, or how it failed.
        content: The result as text, or the error as JSON.
    """

    status: Status
    content: str


def observation_from_result(value: Any) -> ToolObservation:
    """Convert the return value of a tool, a text or a JSON value, to the result for the model."""
    if isinstance(value, bytes | bytearray | memoryview):
        return ToolObservation(
            "error", _error("BinaryResult", "The tool returned bytes, which cannot be read.")
        )
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return ToolObservation("ok", truncate_middle(escape_invisible_characters(text)))


def observation_from_exception(error: Exception | SystemExit) -> ToolObservation:
    """Convert an exception of a tool to the result for the model.

    Only the message of a `ToolError` is included, because other messages may contain secrets.
    """
    message = (
        escape_invisible_characters(str(error)[:500]) if isinstance(error, ToolError) else "The tool failed."
    )
    return ToolObservation("error", _error(type(error).__name__, message))


def make_error_observation(code: str, message: str, status: Status = "error") -> ToolObservation:
    """Make the result of a call that failed or was not executed. ``code`` and ``message`` tell the model why."""
    return ToolObservation(status, _error(code, message))


def make_timeout_observation(seconds: float) -> ToolObservation:
    """Make the result for the model that says that a tool did not answer within ``seconds``."""
    return ToolObservation(
        "timed_out", _error("TimedOut", f"The tool did not answer within {seconds:g} seconds.")
    )


def escape_invisible_characters(text: str) -> str:
    """Replace control and invisible characters in ``text`` by visible escapes, except tabs and line breaks.

    This prevents text that only the model would see.
    """
    plain = escape_control_characters(text, keep="\n\t\r")
    return _UNSEEN.sub(lambda found: f"\\u{{{ord(found[0]):x}}}", plain)


def truncate_middle(text: str) -> str:
    """Cut out the middle of ``text`` if it is longer than `LONGEST`, and insert how many characters are missing."""
    if len(text) <= LONGEST:
        return text
    left_out = len(text) - LONGEST
    return f"{text[: LONGEST - 2_000]}\n[… {left_out} characters left out …]\n{text[-2_000:]}"


def read_error_message(content: str) -> str:
    """Return the message in ``content``, an error as JSON; an empty string if ``content`` is empty."""
    return str(json.loads(content)["message"]) if content else ""


def _error(code: str, message: str) -> str:
    return json.dumps({"error": code, "message": message}, ensure_ascii=False)
