"""Title, overview, category and tasks of a conversation without a model: cut from what was said, so never invented."""

from __future__ import annotations

from .extract import Extract, extract

__all__ = ["Extract", "extract"]
