"""The table: what each kind of failure looks like. The first line that matches decides.

Codes come before statuses, because a provider's code says more (a 429 may be a rate limit or an empty purse); its prose
comes last of what it says, where some give nothing else. Each line has an example that the tests serve from a real
socket, so adding a case is adding a line.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from .policy import Category

if TYPE_CHECKING:
    from collections.abc import Container

    from ..options import Api
    from .evidence import Evidence


@dataclass(frozen=True, slots=True)
class Example:
    """An answer that a line is about.

    Attributes:
        fault: What the provider does instead of answering with an error: ``hang``, ``cut``, ``refuse``, ….
    """

    status: int = 200
    body: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line. What is left out may be anything.

    Attributes:
        api: Whose wire.
        code: One of the provider's codes; ``*`` stands for any characters.
        status: The HTTP status.
        says: What the provider's prose holds, as a regular expression.
        raised: The name of an exception's class, or of one that it inherits.
        answered: Whether the head of an answer came.
        sent: Whether a request went out.
    """

    category: Category
    example: Example
    api: Api | None = None
    code: str | None = None
    status: Container[int] | None = None
    says: str | None = None
    raised: str | None = None
    answered: bool | None = None
    sent: bool | None = None

    def matches(self, seen: Evidence) -> bool:
        """Whether this line is about what was seen."""
        return (
            (self.api is None or self.api == seen.api)
            and (self.sent is None or self.sent == seen.sent)
            and (self.answered is None or self.answered == seen.answered)
            and (self.status is None or (seen.status is not None and seen.status in self.status))
            and (self.code is None or any(fnmatchcase(code, self.code) for code in seen.codes))
            and (self.raised is None or self.raised in seen.raised)
            and (self.says is None or re.search(self.says, seen.sentence, re.IGNORECASE) is not None)
        )


def _openai(status: int, code: str | None = None, message: str = "", **more: Any) -> Example:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code, **more}
    return Example(status, json.dumps({"error": error}))


def _google(status: int, name: str, message: str = "", **detail: Any) -> Example:
    error = {"code": status, "status": name, "message": message, "details": [detail] if detail else []}
    return Example(status, json.dumps({"error": error}))


def _exceeded(quota: str) -> Example:
    return _google(429, "RESOURCE_EXHAUSTED", violations=[{"quotaId": quota}])


def _code(category: Category, status: int, code: str) -> Row:
    return Row(category, _openai(status, code), "openai", code)


C = Category
BAD_REQUEST = frozenset({400, 413, 422})

CODES = (
    _code(C.QUOTA, 429, "insufficient_quota"),
    _code(C.QUOTA, 429, "billing_*"),
    _code(C.QUOTA, 402, "billing_not_active"),
    _code(C.CREDENTIAL, 401, "invalid_api_key"),
    _code(C.CREDENTIAL, 403, "account_deactivated"),
    _code(C.CREDENTIAL, 400, "invalid_organization"),
    _code(C.MODEL_NOT_FOUND, 403, "model_not_found"),
    _code(C.MODEL_NOT_FOUND, 404, "DeploymentNotFound"),
    _code(C.CONTEXT, 400, "context_length_exceeded"),
    _code(C.CONTEXT, 400, "exceed_context_size_error"),  # llama.cpp
    _code(C.CONTEXT, 413, "request_too_large"),
    _code(C.REFUSAL, 400, "content_filter"),
    _code(C.REFUSAL, 400, "content_policy_violation"),
    _code(C.REFUSAL, 400, "ResponsibleAIPolicyViolation"),
    _code(C.REFUSAL, 400, "invalid_prompt"),
    _code(C.REFUSAL, 400, "moderation_blocked"),
    Row(C.UNSUPPORTED, _openai(400, "unsupported_value"), "openai", "unsupported_*", BAD_REQUEST),
    _code(C.UNSUPPORTED, 400, "image_parse_error"),
    _code(C.RATE_LIMIT, 429, "rate_limit_*"),
    Row(C.CREDENTIAL, _google(400, "INVALID_ARGUMENT", reason="API_KEY_INVALID"), "gemini", "API_KEY_*"),
    Row(C.QUOTA, _exceeded("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), "gemini", "*PerDay*"),
    Row(C.RATE_LIMIT, _exceeded("GenerateRequestsPerMinutePerProjectPerModel"), "gemini", "*PerMinute*"),
)
"""What a provider's own code says."""


def _prose(category: Category, example: Example, says: str) -> Row:
    return Row(category, example, status=BAD_REQUEST, says=says)


PROSE = (
    _prose(
        C.CONTEXT,
        _openai(400, None, "This model's maximum context length is 8192 tokens."),
        r"maximum context length|context window|prompt is too long|too many (input )?tokens",
    ),
    _prose(
        C.CONTEXT,
        _google(
            400,
            "INVALID_ARGUMENT",
            "The input token count (9) exceeds the maximum number of tokens allowed (8).",
        ),
        r"exceeds the maximum number of (input )?tokens",
    ),
    _prose(
        C.QUOTA,
        _openai(400, None, "Your credit balance is too low to access the API."),
        r"credit balance is too low|enable billing|billing (account|details)",
    ),
    _prose(
        C.UNSUPPORTED,
        _google(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
        r"location is not supported",
    ),
    _prose(
        C.UNSUPPORTED,
        _google(400, "INVALID_ARGUMENT", "Audio input modality is not enabled for models/some-model."),
        r"is not (enabled|supported) (for|by|in|with) (this model|models?/|the model)|model does not support",
    ),
    _prose(
        C.UNSUPPORTED,
        _openai(400, None, "Too much media: 0 document pages + 108 images > 100."),
        r"too much media|image dimensions exceed|must contain non-whitespace",
    ),
    _prose(
        C.REFUSAL,
        _openai(400, None, "We have limited access to this content for safety reasons."),
        r"for safety reasons|flagged (for|as) (possible|potentially)",
    ),
)
"""Where a provider gives nothing but prose. Only of answers that say that the request is at fault."""


def _status(category: Category, *statuses: int) -> tuple[Row, ...]:
    return tuple(Row(category, Example(status), status=frozenset({status})) for status in statuses)


STATUSES = (
    *_status(C.CREDENTIAL, 401, 403),
    *_status(C.QUOTA, 402),
    *_status(C.MODEL_NOT_FOUND, 404, 410),
    *_status(C.TIMEOUT, 408),
    *_status(C.SERVER, 409, 425, 499),
    *_status(C.CONTEXT, 413),
    *_status(C.RATE_LIMIT, 429),
    Row(C.SERVER, Example(503, "<html>overloaded</html>"), status=range(500, 600)),
    Row(C.REJECTED, Example(400), status=range(400, 500)),
    Row(C.MODEL_NOT_FOUND, Example(307), status=range(300, 400)),  # never followed: it may lead anywhere
)
"""What the HTTP status says."""


def _event(code: str) -> Row:
    error = {"error": {"message": "", "type": code, "code": code}}
    return Row(C.SERVER, Example(200, json.dumps(error), fault="event"), "openai", code)


def _google_event(status: int, code: str) -> Row:
    return Row(C.SERVER, Example(200, _google(status, code).body, fault="event"), "gemini", code)


EVENTS = (
    _event("server_error"),
    _event("internal_error"),
    _event("overloaded_error"),
    _event("server_overloaded"),
    _event("service_unavailable_error"),
    _event("slow_down"),
    _google_event(503, "UNAVAILABLE"),
    _google_event(500, "INTERNAL"),
)
"""Codes that say no more than a status would, and so count only where there is none: in the middle of a stream."""

EXCEPTIONS = (
    Row(C.UNWORDED, Example(fault="unworded"), raised="NotWordedError", sent=False),
    Row(C.TIMEOUT, Example(fault="hang"), raised="TimeoutException", sent=True),
    Row(C.TIMEOUT, Example(fault="hang"), raised="TimeoutError", sent=True),
    Row(C.TIMEOUT, Example(fault="hang"), raised="APITimeoutError", sent=True),
    Row(C.CONNECT, Example(fault="refuse"), raised="TransportError", sent=True, answered=False),
    Row(C.CONNECT, Example(fault="refuse"), raised="APIConnectionError", sent=True, answered=False),
    Row(C.CONNECT, Example(fault="refuse"), raised="OSError", sent=True, answered=False),
    Row(C.INTERRUPTED, Example(fault="cut"), raised="TransportError", answered=True),
    Row(C.INTERRUPTED, Example(fault="cut"), raised="APIConnectionError", answered=True),
    Row(C.INTERRUPTED, Example(fault="cut"), raised="OSError", answered=True),
    # A success that the provider's own SDK cannot read: a page, broken JSON, an error object, no choices.
    Row(C.UNREADABLE, Example(200, "<!doctype html><title>Sign in</title>"), answered=True),
    Row(C.UNREADABLE, Example(200, '{"error": {"message": "no upstream"}}'), "openai", answered=True),
    Row(C.UNREADABLE, Example(200, "{"), answered=True),
    Row(C.BUG, Example(fault="bug")),
)
"""What is left where no error answer came: the kind of exception, and how far the exchange had got."""

ROWS: tuple[Row, ...] = (*CODES, *PROSE, *STATUSES, *EVENTS, *EXCEPTIONS)
