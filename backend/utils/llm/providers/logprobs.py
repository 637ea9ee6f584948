"""Parses the log probabilities of tokens in answers of OpenAI's APIs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .loose_json import nonempty_string_or_none, objects_in_list

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_BYTES = 64


def parse_logprobs(value: object) -> list[dict[str, Any]]:
    """Parse ``logprobs.content`` of Chat Completions: the log probabilities of tokens and their alternatives.

    Returns:
        An entry for each token; empty if ``value`` is not a list of objects.
    """
    return [
        {
            **_logprob(token),
            "top_logprobs": [_logprob(other) for other in objects_in_list(token.get("top_logprobs"))],
        }
        for token in objects_in_list(value)
    ]


def _logprob(token: Mapping[str, Any]) -> dict[str, Any]:
    likely = token.get("logprob")
    found = {
        "token": nonempty_string_or_none(token.get("token")) or "",
        "logprob": likely if isinstance(likely, int | float) else None,
    }
    as_bytes = token.get("bytes")
    return (
        {**found, "bytes": as_bytes} if isinstance(as_bytes, list) and len(as_bytes) <= _MOST_BYTES else found
    )
