"""Reads from an error when the provider accepts the next request."""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .evidence import FailureEvidence

LONGEST: Final = 86_400.0
"""The longest hint in seconds, a day, as the longest windows of providers' limits. Hints are passed on to callers."""

RESETS: Final = {
    "x-ratelimit-reset-requests": "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-tokens": "x-ratelimit-remaining-tokens",
    "anthropic-ratelimit-requests-reset": "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-tokens-reset": "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-input-tokens-reset": "anthropic-ratelimit-input-tokens-remaining",
    "anthropic-ratelimit-output-tokens-reset": "anthropic-ratelimit-output-tokens-remaining",
    "x-ratelimit-reset": "x-ratelimit-remaining",
}
"""Headers with the time at which a limit is reset, to the header with what is left of it. All answers have both."""

_DECIMAL: Final = re.compile(r"\s*[0-9]+(\.[0-9]+)?\s*", re.ASCII)
"""As Python reads them, numbers are also `1e308`, `1_0`, `nan` and digits of other scripts."""
_PIECE: Final = r"[0-9]{1,9}(?:\.[0-9]{1,12})? ?(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?)(?![a-z])"
_PIECES: Final = re.compile(
    r"([0-9]{1,9}(?:\.[0-9]{1,12})?) ?(ms|milli|s|m|h|d)[a-z]{0,8}", re.ASCII | re.IGNORECASE
)
_DURATION: Final = re.compile(
    rf"(?:{_PIECE.replace('(?![a-z])', '[ ,]{0,2}')}){{1,4}}", re.ASCII | re.IGNORECASE
)
_PROSE: Final = re.compile(
    rf"\b(?:again|retry|reset|wait|available|access)\b(?: \w+){{0,3}}? (?:in|after|for) ({_DURATION.pattern})",
    re.ASCII | re.IGNORECASE,
)
_SECONDS: Final = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_EPOCH_MILLISECONDS: Final = 1e11
"""What is more than this many seconds since 1970 is told in milliseconds."""


def read_retry_after(headers: Mapping[str, str], evidence: FailureEvidence, now: datetime) -> float | None:
    """Read from an error in how many seconds the provider accepts the next request, at most `LONGEST`.

    None if the error gives no hint, or if that time has passed.

    Args:
        headers: ``retry-after-ms`` in milliseconds; ``Retry-After`` in seconds, as an HTTP date or like
            ``1m3.2s``; else the reset times of the rate limits that are used up.
        evidence: Google's ``retryDelay``, such as ``28s``, or a message such as ``try again in 1m3.2s``.
        now: The time now, timezone-aware.
    """
    delays = _delays(headers, evidence, now)
    return next((min(seconds, LONGEST) for seconds in delays if seconds is not None and seconds > 0), None)


def is_retry_allowed(headers: Mapping[str, str]) -> bool:
    """Whether the header ``x-should-retry`` allows a retry; only the value ``false`` forbids it.

    The failure's policy must allow the retry as well.
    """
    return headers.get("x-should-retry", "").strip().lower() != "false"


def _delays(headers: Mapping[str, str], evidence: FailureEvidence, now: datetime) -> Iterator[float | None]:
    """Every delay that the answer names, the most specific first."""
    milliseconds = _number(headers.get("retry-after-ms") or headers.get("x-ms-retry-after-ms"))
    yield milliseconds / 1000 if milliseconds is not None else None
    yield _moment(headers.get("retry-after"), now)
    yield _duration(evidence.retry_delay)
    yield max(filter(None, _used_up(headers, now)), default=None)
    found = _PROSE.search(evidence.sentence)
    yield _duration(found[1]) if found else None


def _used_up(headers: Mapping[str, str], now: datetime) -> Iterator[float | None]:
    for reset, remaining in RESETS.items():
        if reset in headers and _number(headers.get(remaining)) == 0:
            yield _moment(headers[reset], now)


def _moment(text: str | None, now: datetime) -> float | None:
    """Seconds from now to a time given as seconds, a duration, a date, or seconds since 1970."""
    number = _number(text)
    if number is None:
        return _duration(text) or _until(text, now)
    since = number / 1000 if number > _EPOCH_MILLISECONDS else number
    return (
        since - now.timestamp()
        if since > now.timestamp() - LONGEST and since < _EPOCH_MILLISECONDS
        else number
    )


def _number(text: str | None) -> float | None:
    return float(text or "") if _DECIMAL.fullmatch(text or "") else None


def _until(text: str | None, now: datetime) -> float | None:
    """Seconds from now to an HTTP date, or a date of RFC 3339."""
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = parse(text or "")
            return (moment - now).total_seconds() if moment.tzinfo else None
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _duration(text: str | None) -> float | None:
    """Seconds of ``28s``, ``1h2m3s``, ``6ms``, ``20 seconds``; None for anything else."""
    if not _DURATION.fullmatch((text or "").strip()):
        return None
    return sum(float(number) * _SECONDS[unit.lower()] for number, unit in _PIECES.findall(text or ""))
