"""Answers of OpenAI's Responses, read into the shape that Chat Completions has: whole ones, and streams of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.output_parsers.openai_tools import make_invalid_tool_call, parse_tool_call
from langchain_core.outputs import ChatGeneration, ChatResult

from .bounded import Arguments, few
from .openai_client import raise_for
from .stops import Stops

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Told = Mapping[str, Any]

_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}
_FAILED = frozenset({"failed", "cancelled"})


def result_of(response: Told, stop: Sequence[str] | None = None) -> ChatResult:
    """A whole answer.

    Raises:
        APIError: If it tells an error instead.
    """
    _raise_if_failed(response)
    items = response["output"]
    few(items, *(item.get("content") for item in items))
    parts = [part for item in items if item["type"] == "message" for part in item["content"]]
    texts = [part for part in parts if part["type"] == "output_text"]
    refusal = "".join(part["refusal"] for part in parts if part["type"] == "refusal")
    calls = [item for item in items if item["type"] == "function_call"]
    tool_calls, invalid = _calls(calls)
    likely = [token for part in texts for token in part.get("logprobs") or ()]
    message = AIMessage(
        content=Stops(stop).cut("".join(part["text"] for part in texts)),
        id=response["id"],
        tool_calls=tool_calls,
        invalid_tool_calls=invalid,
        usage_metadata=_usage(response.get("usage")),
        response_metadata={**_metadata(response, called=bool(calls)), **_likely(likely)},
        additional_kwargs={"refusal": refusal} if refusal else {},
    )
    return ChatResult(generations=[ChatGeneration(message=message)])


class StreamReader:
    """Reads one stream, event by event.

    Every event that adds something to the answer becomes a chunk with just that. Events that repeat what was said do
    not. The reason to finish comes with the last event, so a stream that breaks off has none.
    """

    def __init__(self, stop: Sequence[str] | None = None) -> None:
        self._stops = Stops(stop)
        self._called = False
        self._arguments = Arguments()

    def read(self, event: Told) -> AIMessageChunk | None:
        """What ``event`` adds to the answer; None for nothing.

        Raises:
            APIError: If it tells an error.
        """
        if event["type"] == "error":
            raise_for(event.get("error") or event)
        added = self._added(event)
        return AIMessageChunk(**{"content": "", **added}) if added else None

    def _added(self, event: Told) -> dict[str, Any]:
        match event["type"]:
            case "response.output_text.delta":
                likely = _likely(event.get("logprobs") or ())
                return {"content": self._stops.add(event["delta"]), "response_metadata": likely}
            case "response.refusal.delta":
                return {"additional_kwargs": {"refusal": event["delta"]}}
            case "response.output_item.added" if event["item"]["type"] == "function_call":
                return self._opened(event["item"], event["output_index"])
            case "response.function_call_arguments.delta":
                place = event["output_index"]
                return _call_piece(place, args=self._arguments.add(place, event["delta"]))
            case "response.completed" | "response.incomplete" | "response.failed":
                return self._last(event["response"])
            case _:
                return {}

    def _opened(self, call: Told, place: int) -> dict[str, Any]:
        self._called = True
        begun = self._arguments.add(place, call["arguments"])
        return _call_piece(place, name=call["name"], args=begun, id=call["call_id"])

    def rest(self) -> AIMessageChunk | None:
        """What had to wait until no more comes."""
        return self._arguments.rest()

    def _last(self, response: Told) -> dict[str, Any]:
        _raise_if_failed(response)
        return {
            "content": self._stops.rest(),
            "id": response["id"],
            "usage_metadata": _usage(response.get("usage")),
            "response_metadata": _metadata(response, called=self._called),
        }


def _raise_if_failed(response: Told) -> None:
    status = response.get("status")
    raise_for(response.get("error") or (status in _FAILED and {"code": status}))


def _call_piece(place: int, **told: str) -> dict[str, Any]:
    piece = {"type": "tool_call_chunk", "name": None, "id": None, "index": place, **told}
    return {"tool_call_chunks": [piece]}


def _calls(items: Iterable[Told]) -> tuple[list[Any], list[Any]]:
    """Calls whose arguments can be read, and those whose cannot."""
    good, bad = [], []
    for item in items:
        raw = {
            "id": item["call_id"],
            "function": {"name": item["name"], "arguments": item["arguments"]},
        }
        try:
            good.append(parse_tool_call(raw, return_id=True))
        except ValueError as error:
            bad.append(make_invalid_tool_call(raw, str(error)))
    return good, bad


def _metadata(response: Told, *, called: bool) -> dict[str, Any]:
    return {
        "id": response["id"],
        "model_name": response.get("model"),
        "model_provider": "openai",
        "service_tier": response.get("service_tier"),
        "finish_reason": _finish_reason(response, called=called),
    }


def _finish_reason(response: Told, *, called: bool) -> str | None:
    """Why it ended, by the names of Chat Completions; None if it has not."""
    if response.get("status") == "completed":
        return "tool_calls" if called else "stop"
    reason = (response.get("incomplete_details") or {}).get("reason")
    return None if reason is None else _REASONS.get(reason, reason)


def _usage(told: Told | None) -> UsageMetadata | None:
    if told is None:
        return None
    # A server that is not OpenAI's may leave out the details.
    inward, outward = told.get("input_tokens_details") or {}, told.get("output_tokens_details") or {}
    return UsageMetadata(
        input_tokens=told["input_tokens"],
        output_tokens=told["output_tokens"],
        total_tokens=told["total_tokens"],
        input_token_details=InputTokenDetails(
            cache_read=inward.get("cached_tokens") or 0, cache_creation=inward.get("cache_write_tokens") or 0
        ),
        output_token_details=OutputTokenDetails(reasoning=outward.get("reasoning_tokens") or 0),
    )


def _likely(tokens: Sequence[Told]) -> dict[str, Any]:
    """Log probabilities in the shape of Chat Completions."""
    return {"logprobs": {"content": list(tokens)}} if tokens else {}
