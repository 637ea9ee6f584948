"""What is taken of an answer whose sender nobody here knows: the fields of Chat Completions that a caller can use.

LangChain reads an answer on the event loop, all that is in it, and takes the square of some of it. So it is given what
has this shape, and no more of it than keeps a loop for a moment; all else is left out.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..errors import OwnEndpointError
from ..failures import BadAnswer, Category

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Told = Mapping[str, Any]

MOST_VALUES = 100_000
"""In one JSON document, or in a text that may be one: as many keep a loop for a tenth of a second."""
MOST_TEXT = 1_000_000
"""Characters, twice what a model can say."""
MOST_CALLS = 128
MOST_ARGUMENTS = 10_000
"""Characters, of all calls of an answer together."""
MOST_LIKELY = 10_000
"""Tokens of an answer of which it is told how likely they were."""
LONGEST_REFUSAL = 10_000
LONGEST_NAME = 200
"""Of a model, a call, a tool, a reason."""
LONGEST_SENTENCE = 2000
MOST_TOKENS = 10**12
_SEPARATORS = ",:[{"
_LONGEST_NUMBER = 20


def within(count: int, most: int, what: str) -> None:
    """Nothing, if it is not too many.

    Raises:
        OwnEndpointError: It is.
    """
    if count > most:
        raise OwnEndpointError(f"Your own endpoint sent more than {most:,} {what}.")


def read(document: bytes) -> dict[str, Any]:
    """What ``document`` tells; if that is an error, nothing else.

    Raises:
        OwnEndpointError: It tells too much.
        BadAnswer: It is no object.
        ValueError: It is no JSON.
    """
    within(sum(document.count(one) for one in _SEPARATORS.encode()), MOST_VALUES, "values")
    told = json.loads(document, parse_int=_whole_number)
    if not isinstance(told, dict):
        raise BadAnswer(Category.UNREADABLE)
    return {"error": _plain_error(told["error"])} if told.get("error") else told


def _whole_number(text: str) -> int:
    """Python takes the square of a number's length."""
    return int(text[:_LONGEST_NUMBER])


def _plain_error(told: object) -> dict[str, Any]:
    error = an_object(told) or {"message": told}
    message, code = error.get("message"), error.get("code")
    return {
        "message": message[:LONGEST_SENTENCE] if isinstance(message, str) else "",
        "code": code if isinstance(code, int) else short(code),
        "type": short(error.get("type")),
    }


def plain_answer(told: Told) -> dict[str, Any]:
    """What is taken of a whole answer.

    Raises:
        OwnEndpointError: It is too much.
    """
    if "error" in told:
        return dict(told)
    choices = map(_plain_choice, objects(told.get("choices"))[:1])
    return {**named(told), "choices": list(choices), "usage": plain_usage(told.get("usage"))}


def _plain_choice(choice: Told) -> dict[str, Any]:
    message, likely = an_object(choice.get("message")), plain_likely(choice)
    within(len(likely), MOST_LIKELY, "tokens with their probabilities")
    reason = short(choice.get("finish_reason"))
    return {"finish_reason": reason, "message": _plain_message(message), **told_likely(likely)}


def _plain_message(message: Told) -> dict[str, Any]:
    text, refusal = plain_text(message.get("content")), plain_text(message.get("refusal"))
    calls = list(map(_plain_call, objects(message.get("tool_calls"))))
    within(len(text), MOST_TEXT, "characters")
    within(sum(map(text.count, _SEPARATORS)), MOST_VALUES, "values in a text")
    within(len(refusal), LONGEST_REFUSAL, "characters of a refusal")
    within(len(calls), MOST_CALLS, "tool calls")
    arguments = sum(len(call["function"]["arguments"]) for call in calls)
    within(arguments, MOST_ARGUMENTS, "characters of arguments")
    return {"role": "assistant", "content": text, "refusal": refusal, "tool_calls": calls}


def _plain_call(call: Told) -> dict[str, Any]:
    function = an_object(call.get("function"))
    name, arguments = short(function.get("name")) or "", plain_text(function.get("arguments"))
    return {
        "id": short(call.get("id")),
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


# Of whole answers and of events ------------------------------------------------------------------------------------


def plain_text(told: object) -> str:
    """A text; of one that comes in parts, all of them."""
    if not isinstance(told, list):
        return told if isinstance(told, str) else ""
    return "".join(plain_text(part.get("text")) for part in objects(told) if part.get("type") == "text")


def plain_usage(told: object) -> dict[str, Any] | None:
    """What is told of tokens; None if nothing is."""
    usage = _counts(told, ("prompt_tokens", "completion_tokens", "total_tokens"))
    if not usage:
        return None
    details = an_object(told)
    inward = _counts(details.get("prompt_tokens_details"), ("cached_tokens", "cache_write_tokens"))
    outward = _counts(details.get("completion_tokens_details"), ("reasoning_tokens",))
    return {**usage, "prompt_tokens_details": inward, "completion_tokens_details": outward}


def _counts(told: object, names: Iterable[str]) -> dict[str, int]:
    found = {name: an_object(told).get(name) for name in names}
    return {name: count for name, count in found.items() if type(count) is int and 0 <= count <= MOST_TOKENS}


def plain_likely(choice: Told) -> list[dict[str, Any]]:
    """How likely each token was, and others in its place."""
    content = objects(an_object(choice.get("logprobs")).get("content"))
    return [
        {**_likely(one), "top_logprobs": list(map(_likely, objects(one.get("top_logprobs"))))}
        for one in content
    ]


def _likely(token: Told) -> dict[str, Any]:
    likely = token.get("logprob")
    return {
        "token": short(token.get("token")) or "",
        "logprob": likely if isinstance(likely, int | float) else None,
    }


def told_likely(tokens: list[dict[str, Any]]) -> dict[str, Any]:
    """The same as a field of a choice, if there are any."""
    return {"logprobs": {"content": tokens}} if tokens else {}


def named(told: Told) -> dict[str, str]:
    """The answer's id and its model, as far as they are told."""
    names = {name: short(told.get(name)) for name in ("id", "model")}
    return {name: value for name, value in names.items() if value}


def an_object(told: object) -> dict[str, Any]:
    """``told``, if it is one; else an empty one."""
    return told if isinstance(told, dict) else {}


def objects(told: object) -> list[dict[str, Any]]:
    """Those in ``told``, if it is a list."""
    return [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []


def short(told: object) -> str | None:
    """``told``, if it is a text that may be a name."""
    return told if isinstance(told, str) and len(told) <= LONGEST_NAME else None
