"""Title, overview, category and tasks of a conversation without a model: cut from what was said, so never invented."""

from __future__ import annotations

from .extract import ExtractedSummary, extract_summary

__all__ = ["ExtractedSummary", "extract_summary"]
