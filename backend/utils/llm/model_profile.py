"""The profile of a feature's chain in LangChain's terms: only abilities that all of its endpoints share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .models.abilities import EFFORTS

if TYPE_CHECKING:
    from langchain_core.language_models import ModelProfile

    from .routing.route import Candidate, Route


def make_model_profile(route: Route) -> ModelProfile | None:
    """Describe the abilities that all endpoints of ``route`` have in common, as LangChain's `ModelProfile`.

    Endpoints on cooldown are included. None if there is no endpoint. The limits on prompt and answer, in
    tokens, are the smallest of all endpoints. Support for image URLs, and for images in tool results, is
    left out, because it depends on the image.
    """
    chain = (*route.candidates, *route.resting)
    if not chain:
        return None
    able = [candidate.endpoint.can for candidate in chain]
    takes_tools = all(candidate.endpoint.supports_tools(candidate.options.effort) for candidate in chain)
    efforts = set.intersection(*(set(can.efforts) for can in able))
    return {
        "max_input_tokens": min(candidate.max_prompt_tokens for candidate in chain),
        "max_output_tokens": min(map(_longest_answer, chain)),
        "text_inputs": True,
        "image_inputs": all(can.images for can in able),
        "audio_inputs": all(can.audio for can in able),
        "video_inputs": all(can.video for can in able),
        "pdf_inputs": all(can.pdf for can in able),
        "text_outputs": True,
        "image_outputs": False,
        "audio_outputs": False,
        "video_outputs": False,
        "tool_calling": takes_tools,
        "tool_choice": takes_tools,
        "structured_output": all(can.structured_output for can in able),
        "temperature": all(can.temperature for can in able),
        "reasoning_output": all(can.efforts for can in able),
        "reasoning_effort_levels": [effort for effort in EFFORTS if effort in efforts],
    }


def _longest_answer(candidate: Candidate) -> int:
    asked, most = candidate.options.max_output_tokens, candidate.endpoint.can.max_output
    return most if asked is None else min(asked, most)
