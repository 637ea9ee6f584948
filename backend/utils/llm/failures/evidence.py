"""What is known of a failed attempt: the facts of the wire first, exceptions last.

The provider's codes come from the body of its error answer, or from the error event in the middle of its stream, which
only the SDK's exception still holds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..options import Api
    from ..transport import Wire

_ERRORS = range(300, 600)
_LONGEST_SENTENCE = 2000


@dataclass(frozen=True, slots=True)
class Evidence:
    """The facts that a failure is judged by.

    Attributes:
        status: The HTTP status of an error answer, or the number in a stream's error event; None without either.
        codes: Every code that the provider named: OpenAI's ``code`` and ``type``, Google's ``status``, ``reason`` and
            ``quotaId``.
        sentence: The provider's prose. The last resort, and never shown to anybody.
        raised: The names of all exception classes involved.
        answered: Whether the head of an answer came.
        sent: Whether a request went out.
        retry_delay: Google's ``retryDelay``, such as ``28s``.
    """

    api: Api
    status: int | None = None
    codes: frozenset[str] = frozenset()
    sentence: str = field(default="", repr=False)
    raised: frozenset[str] = frozenset()
    answered: bool = False
    sent: bool = True
    retry_delay: str | None = None


def gather(exception: BaseException, wire: Wire, api: Api, outer: BaseException | None = None) -> Evidence:
    """Everything that the wire and the exception tell.

    Args:
        exception: What the attempt ended with.
        wire: What the wire said.
        api: Whose wire it was.
        outer: What the caller of the call was handling anyway; it says nothing about this attempt.
    """
    links = tuple(_chain(exception, outer))
    error = _said(wire.error_body) or next(filter(None, map(_told, links)), {})
    status = wire.status if wire.status in _ERRORS else _number(error.get("code"))
    return Evidence(
        api=api,
        status=status,
        codes=frozenset(_codes(error)),
        sentence=str(error.get("message") or "")[:_LONGEST_SENTENCE],
        raised=frozenset(kind.__name__ for link in links for kind in type(link).__mro__),
        answered=wire.status is not None,
        sent=wire.sent_at is not None,
        retry_delay=next(
            (one["retryDelay"] for one in _details(error) if _is_text(one.get("retryDelay"))), None
        ),
    )


def _said(body: bytes) -> dict[str, Any]:
    """The error in the body of an error answer."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return _error(document)


def _told(exception: BaseException) -> dict[str, Any]:
    """The error that an SDK's exception holds: ``body`` is OpenAI's, ``details`` Google's."""
    for name in ("body", "details"):
        held = getattr(exception, name, None)
        if isinstance(held, dict):
            return _error(held) or held
    return {}


def _error(document: object) -> dict[str, Any]:
    if isinstance(document, list) and document:
        document = document[0]
    error = document.get("error") if isinstance(document, dict) else None
    return error if isinstance(error, dict) else {"message": error} if _is_text(error) else {}


def _codes(error: Mapping[str, Any]) -> Iterator[str]:
    inner = error.get("innererror")
    named = [error.get(key) for key in ("code", "type", "status")]
    named += [inner.get("code") if isinstance(inner, dict) else None]
    for detail in _details(error):
        named.append(detail.get("reason"))
        named += [one.get("quotaId") for one in _objects(detail.get("violations"))]
    return (code for code in named if isinstance(code, str) and code)


def _details(error: Mapping[str, Any]) -> list[dict[str, Any]]:
    return _objects(error.get("details"))


def _objects(told: object) -> list[dict[str, Any]]:
    return [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []


def _number(code: object) -> int | None:
    return code if isinstance(code, int) and code in _ERRORS else None


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _chain(exception: BaseException | None, outer: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while exception is not None and exception is not outer and id(exception) not in seen:
        seen.add(id(exception))
        yield exception
        exception = exception.__cause__ or (None if exception.__suppress_context__ else exception.__context__)
