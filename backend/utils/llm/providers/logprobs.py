"""The log probabilities of tokens in the answers of OpenAI's APIs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .loose_json import as_name, as_objects

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_BYTES = 64


def logprobs_of(value: object) -> list[dict[str, Any]]:
    """The log probability of each token and of its alternatives, in the form of Chat Completions; empty without any."""
    return [
        {
            **_logprob(token),
            "top_logprobs": [_logprob(other) for other in as_objects(token.get("top_logprobs"))],
        }
        for token in as_objects(value)
    ]


def _logprob(token: Mapping[str, Any]) -> dict[str, Any]:
    likely = token.get("logprob")
    found = {
        "token": as_name(token.get("token")) or "",
        "logprob": likely if isinstance(likely, int | float) else None,
    }
    as_bytes = token.get("bytes")
    return (
        {**found, "bytes": as_bytes} if isinstance(as_bytes, list) and len(as_bytes) <= _MOST_BYTES else found
    )
