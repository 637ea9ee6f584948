"""Estimates the tokens of a prompt, for every model alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.utils.llm.needs import history_and_needs
from backend.utils.llm.options import NO_OPTIONS
from backend.utils.llm.providers import Ask

if TYPE_CHECKING:
    from .request import CompletionRequest


def prompt_tokens(request: CompletionRequest) -> int:
    """Estimate how many tokens the prompt of ``request`` has, in the same way as routing does; at least one."""
    ask = Ask(NO_OPTIONS, tools=tuple(map(dict, request.tools)))
    _, needs = history_and_needs(request.messages, ask)
    return max(1, needs.tokens)
