"""Extracts title, overview, category and tasks of a conversation without a model: quoted, so never invented."""

from __future__ import annotations

from .extract import ExtractedSummary, extract_summary

__all__ = ["ExtractedSummary", "extract_summary"]
