"""Estimates the number of a prompt's tokens, in the same way for all models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.utils.llm.needs import prepare_history_and_needs
from backend.utils.llm.options import NO_OPTIONS
from backend.utils.llm.providers import CallSettings

if TYPE_CHECKING:
    from .request import CompletionRequest


def estimate_prompt_tokens(request: CompletionRequest) -> int:
    """Estimate the number of the prompt's tokens, in the same way as routing does. At least 1."""
    ask = CallSettings(NO_OPTIONS, tools=tuple(map(dict, request.tools)))
    _, needs = prepare_history_and_needs(request.messages, ask)
    return max(1, needs.tokens)
