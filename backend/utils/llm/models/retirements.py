"""The days on which vendors stop serving models, as their deprecation pages announce them.

A date holds for the vendor's own API; a reseller may stop earlier or later.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache

from pydantic import BaseModel, ConfigDict

from .names import normalize_model_name, strip_snapshot_date
from .sources import ANTHROPIC_DEPRECATIONS, GOOGLE_DEPRECATIONS, OPENAI_DEPRECATIONS


class ModelRetirement(BaseModel):
    """The day on which a vendor stops serving a model, the replacement that the vendor names, and the source."""

    model_config = ConfigDict(frozen=True)

    day: date
    replacement: str | None = None
    source: str = ""


_ANNOUNCED: dict[str, tuple[tuple[date, str | None, str], ...]] = {
    OPENAI_DEPRECATIONS: (
        (date(2026, 10, 23), "gpt-5.6-terra", "gpt-3.5-turbo o4-mini"),
        (date(2026, 10, 23), "gpt-5.6-sol", "gpt-4 gpt-4-turbo gpt-4o-2024-05-13 o1 o1-pro o3-mini"),
        (date(2026, 10, 23), "gpt-5.6-luna", "gpt-4.1-nano"),
        (date(2026, 12, 11), "gpt-6.1-sol", "gpt-5 gpt-5-pro o3 o3-pro"),
        (date(2026, 12, 11), "gpt-6.1-terra", "gpt-5-mini"),
        (date(2026, 12, 11), "gpt-6-luna", "gpt-5-nano"),
        (date(2027, 1, 14), "gpt-6-luna", "gpt-4o gpt-4o-mini gpt-4.1 gpt-4.1-mini"),
        (date(2027, 4, 1), None, "gpt-5.1 gpt-5.3-codex gpt-5.4-nano"),
    ),
    # From that day on Google answers with the replacement, at its price, instead of refusing.
    GOOGLE_DEPRECATIONS: (
        (date(2026, 12, 1), "gemini-3.8-flash", "gemini-2.5-pro"),
        (date(2026, 12, 1), "gemini-3.5-flash-lite", "gemini-2.5-flash"),
        (date(2027, 5, 7), None, "gemini-3.1-flash-lite"),
    ),
    ANTHROPIC_DEPRECATIONS: (
        (date(2026, 6, 15), "claude-opus-4-8", "claude-opus-4-0 claude-opus-4"),
        (date(2026, 6, 15), "claude-sonnet-4-6", "claude-sonnet-4-0 claude-sonnet-4"),
        (date(2026, 8, 5), None, "claude-opus-4-1"),
        (date(2026, 11, 30), "claude-sonnet-5-5", "claude-sonnet-4-5"),
    ),
}
RETIREMENTS: dict[str, ModelRetirement] = {
    model: ModelRetirement(day=day, replacement=replacement, source=source)
    for source, announced in _ANNOUNCED.items()
    for day, replacement, models in announced
    for model in models.split()
}


@lru_cache(maxsize=1024)
def find_retirement(model: str) -> ModelRetirement | None:
    """Find the retirement of ``model``, or else of the model that it is a snapshot of; None without a known date."""
    name = normalize_model_name(model)
    return RETIREMENTS.get(name) or RETIREMENTS.get(strip_snapshot_date(name))
