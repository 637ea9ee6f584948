"""Answers of Gemini, through the adapter's own reader, with what that leaves out: whole ones, and streams of parts."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, cast

from google.genai.types import Candidate
from langchain_core.messages.ai import add_usage
from langchain_google_genai.chat_models import _response_to_result, _StreamBlockIndexer

from .bounded import few
from .told import OTHERS_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.genai.types import GenerateContentResponse, LogprobsResultCandidate
    from langchain_core.messages import AIMessageChunk
    from langchain_core.messages.ai import UsageMetadata
    from langchain_core.outputs import ChatGenerationChunk, ChatResult


def result_of(response: GenerateContentResponse) -> ChatResult:
    """A whole answer; every candidate is a generation."""
    _bound(response)
    result = _response_to_result(_with_candidate(response))
    for generation, candidate in zip(result.generations, response.candidates or (), strict=False):
        generation.generation_info = {**(generation.generation_info or {}), **_likely(candidate)}
    return result


def _with_candidate(response: GenerateContentResponse) -> GenerateContentResponse:
    """``response``; with a blank candidate, if it has none: else the adapter logs what the provider says of that."""
    return response if response.candidates else response.model_copy(update={"candidates": [Candidate()]})


def _bound(response: GenerateContentResponse) -> None:
    candidates = response.candidates or ()
    few(candidates, *(one.content.parts for one in candidates if one.content is not None))


class StreamReader:
    """Reads one stream, part by part.

    The reason to finish, and who served, are told once, whatever the server repeats: pieces of a message add up.
    """

    def __init__(self) -> None:
        self._usage: UsageMetadata | None = None
        self._indexer = _StreamBlockIndexer()
        self._called = False
        self._finished = False

    def read(self, response: GenerateContentResponse) -> ChatGenerationChunk:
        """What ``response`` adds to the answer."""
        _bound(response)
        read = _response_to_result(_with_candidate(response), stream=True, prev_usage=self._usage)
        chunk = cast("ChatGenerationChunk", read.generations[0])
        message = cast("AIMessageChunk", chunk.message)
        self._indexer.assign(message)
        self._usage = add_usage(self._usage, message.usage_metadata)
        self._called = self._called or bool(message.tool_call_chunks)
        candidates = response.candidates or []
        info = {**(chunk.generation_info or {}), **(read.llm_output or {}), **_others(candidates[1:])}
        for candidate in candidates[:1]:
            info |= _likely(candidate)
        chunk.generation_info = self._once(info, message)
        return chunk

    def _once(self, info: dict[str, Any], message: AIMessageChunk) -> dict[str, Any]:
        if info.get("finish_reason") is None:
            return info
        if self._finished:
            message.response_metadata.pop("model_name", None)
            return {key: value for key, value in info.items() if key not in _TOLD_AT_THE_END}
        self._finished = True
        called = self._called and info["finish_reason"] == "STOP"
        return {**info, "finish_reason": "tool_calls"} if called else info


_TOLD_AT_THE_END = frozenset({"finish_reason", "model_name"})


def _others(candidates: Sequence[Candidate]) -> dict[str, Any]:
    """Why candidates beside the first ended."""
    reasons = [candidate.finish_reason.name for candidate in candidates if candidate.finish_reason]
    return {OTHERS_KEY: reasons} if reasons else {}


def _likely(candidate: Candidate) -> dict[str, Any]:
    """Log probabilities in the shape of Chat Completions."""
    told = candidate.logprobs_result
    if told is None:
        return {}
    places = zip_longest(told.chosen_candidates or (), told.top_candidates or ())
    content = [
        {**_token(chosen), "top_logprobs": [_token(one) for one in (top.candidates if top else None) or ()]}
        for chosen, top in places
        if chosen is not None
    ]
    return {"logprobs": {"content": content}} if content else {}


def _token(told: LogprobsResultCandidate) -> dict[str, Any]:
    return {"token": told.token, "logprob": told.log_probability}
