"""When the provider wants to be asked again."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from .evidence import Evidence

LONGEST: Final = 86_400.0
"""Seconds: the longest windows for which providers count are days. What a provider says is handed on to our callers."""

_DECIMAL: Final = re.compile(r"\s*[0-9]+(\.[0-9]+)?\s*", re.ASCII)
"""As Python reads them, numbers are also `1e308`, `1_0`, `nan` and digits of other scripts."""


def retry_after(headers: Mapping[str, str], seen: Evidence, now: datetime) -> float | None:
    """Seconds until the provider wants to be asked again, at most `LONGEST`; None if it does not say, or says one that has passed.

    Args:
        headers: ``retry-after-ms`` in milliseconds, or ``Retry-After`` in seconds or as an HTTP date.
        seen: Holds Google's ``retryDelay``, such as ``28s`` or ``1.5s``.
        now: The wall clock, timezone-aware.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    told = headers.get("retry-after")
    found = (
        milliseconds / 1000 if milliseconds is not None else None,
        _number(told),
        _until(told, now),
        _duration(seen.retry_delay),
    )
    return next((min(seconds, LONGEST) for seconds in found if seconds is not None and seconds > 0), None)


def may_retry(headers: Mapping[str, str]) -> bool:
    """False if the provider asks not to be sent this again. Its yes never overrides a no of ours."""
    return headers.get("x-should-retry", "").strip().lower() != "false"


def _number(text: str | None) -> float | None:
    return float(text or "") if _DECIMAL.fullmatch(text or "") else None


def _until(text: str | None, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(text or "")
        return (moment - now).total_seconds() if moment.tzinfo else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _duration(text: str | None) -> float | None:
    told = (text or "").strip()
    return _number(told.removesuffix("s")) if told.endswith("s") else None
