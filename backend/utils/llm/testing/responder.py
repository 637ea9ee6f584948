"""Makes the loopback provider's default reply, by rules, for requests without a scripted reply.

The reply has the form that the request asks for: a tool call if a tool is forced or fits, JSON that fits
the schema, or else a short text that repeats the question. Equal requests get equal replies.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from .hints import PromptHints, find_quotations
from .replies import Text, ToolCalls
from .values import make_value_for_schema
from .wire import estimate_tokens, max_characters_for_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .wire import DeclaredTool, ParsedRequest

_EXCERPT = 60
_FITS = 2
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "about and are can does for from get give have how into its that the this tell use using was what when where "
        "which who will with you your",
    )
)


def make_default_reply(prompt: ParsedRequest) -> Text | ToolCalls:
    """Make the reply to a request for which no reply was set. Equal requests get equal replies.

    It is a tool call if a tool is forced or fits the question, else JSON if the request asks for JSON, else
    a short text that repeats the question.
    """
    tool = _tool_to_call(prompt)
    if tool is not None:
        return ToolCalls(((tool.name, _arguments(tool, _question(prompt))),))
    if prompt.schema is not None:
        return _limited(json.dumps(make_value_for_schema(prompt.schema), ensure_ascii=False), prompt)
    if prompt.json_object:
        return _limited(json.dumps(_some_object(_question(prompt)), ensure_ascii=False), prompt)
    return _limited(_stopped(_small_talk(prompt), prompt.stop), prompt)


def _tool_to_call(prompt: ParsedRequest) -> DeclaredTool | None:
    """The best fitting of the forced tools; else of all, unless a tool has just answered or none fits."""
    question = _question(prompt)
    if prompt.forced:
        forced = [tool for tool in prompt.tools if tool.name in prompt.forced]
        return max(forced, key=lambda tool: _fit(tool, question), default=None)
    if not prompt.turns or prompt.turns[-1].role != "user":
        return None
    best = max(prompt.tools, key=lambda tool: _fit(tool, question), default=None)
    return best if best is not None and _fit(best, question) >= _FITS else None


def _question(prompt: ParsedRequest) -> str:
    """The user's last message."""
    return next((turn.text for turn in reversed(prompt.turns) if turn.role == "user"), "")


def _fit(tool: DeclaredTool, question: str) -> int:
    """How well a tool fits: its name counts most, then its description's words, then whether its numbers are there."""
    asked = _words(question)
    properties: Mapping[str, Any] = tool.parameters.get("properties") or {}
    named = 10 if tool.name.lower() in question.lower() else 2 * len(asked & _words(tool.name))
    described = len(asked & (_words(tool.description) | _words(" ".join(properties))))
    kinds = Counter(
        str(schema.get("type")).lower() for schema in properties.values() if isinstance(schema, dict)
    )
    wanted = kinds["integer"] + kinds["number"]
    counted = 2 if wanted and wanted == len(properties) == len(re.findall(r"\d+(?:\.\d+)?", question)) else 0
    return named + described + counted


def _words(text: str) -> set[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", text)
    return {word for word in re.findall(r"[^\W\d]{3,}", spaced.lower()) if word not in _COMMON}


def _arguments(tool: DeclaredTool, question: str) -> dict[str, Any]:
    rest = re.sub(re.escape(tool.name), " ", question)
    arguments = make_value_for_schema(
        {"type": "object", **tool.parameters}, hints=PromptHints(rest), include_optional=False
    )
    return dict(arguments) if isinstance(arguments, dict) else {}


def _some_object(question: str) -> dict[str, str]:
    """An object with the keys that the prompt names in quotation marks."""
    return {key: f"Some {key}." for key in find_quotations(question) if key.isidentifier()} or {
        "answer": "Some answer."
    }


def _small_talk(prompt: ParsedRequest) -> str:
    """A sentence that repeats the question, or the tools' results if those came last."""
    results = list(takewhile(lambda turn: turn.role == "tool", reversed(prompt.turns)))
    if results:
        results_text = "; ".join(turn.text for turn in reversed(results))
        return f"The tool answered: {results_text}"
    question = " ".join(_question(prompt).split())
    echo = f"I heard “{question[:_EXCERPT]}”." if question else "I heard nothing."
    kinds = Counter(kind for turn in prompt.turns for kind in turn.attachments)
    contents = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return f"Hello from the loopback model. {echo}" + (f" I was given {contents}." if contents else "")


def _stopped(text: str, stop: tuple[str, ...]) -> str:
    ends = [text.find(sequence) for sequence in stop if sequence]
    return text[: min((end for end in ends if end >= 0), default=len(text))]


def _limited(text: str, prompt: ParsedRequest) -> Text:
    """The text, cut at the request's token limit."""
    if prompt.max_tokens is None or estimate_tokens(text) <= prompt.max_tokens:
        return Text(text)
    return Text(text[: max_characters_for_tokens(prompt.max_tokens)], finish="length")
