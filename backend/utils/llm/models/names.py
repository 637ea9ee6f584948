"""Names of a model: normalises those of the table, vendors and resellers, and compares them with that in an answer."""

from __future__ import annotations

import re
from functools import lru_cache

_DATE = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|\d{8}|\d{2}-\d{4}|\d{2}-\d{2}|\d{4}|00\d)$")
"""How vendors date the snapshots of a model."""
_WAYS = frozenset({"batch", "exacto", "floor", "free", "latest", "nitro", "online"})
"""What may stand behind a colon without making another model of it: OpenRouter's ways to serve it, Ollama's tag."""
_ALIAS = "-latest"


def plain(name: str) -> str:
    """The model's name as its vendor spells it: ``anthropic/claude-haiku-5.5:batch`` is ``claude-haiku-5-5``."""
    bare = name.lower().rpartition("/")[2]
    base, _, tag = bare.partition(":")
    bare = base if tag in _WAYS else bare
    return bare.replace(".", "-") if bare.startswith("claude-") else bare


def undated(name: str) -> str:
    """A name from `plain` without the date of its snapshot: ``gpt-6-luna-2026-11-01`` is ``gpt-6-luna``."""
    return _DATE.sub("", name)


@lru_cache(maxsize=4096)
def is_served_as_asked(model_id: str, served: str | None) -> bool:
    """Whether the model that an answer names is the model that was asked for.

    A dated snapshot of the requested model counts as the same, and so does the name without the date of the requested
    snapshot; another snapshot or model does not. For an alias (``…-latest``), any model of its vendor counts.

    Args:
        model_id: The model as the request named it.
        served: The model as the answer named it; None, if it named none, counts as the same.
    """
    asked, got = plain(model_id), plain(served or model_id)
    if asked.endswith(_ALIAS):
        return _vendor(asked) == _vendor(got)
    same_model = undated(asked) == undated(got)
    other_snapshot = asked != got and undated(asked) != asked and undated(got) != got
    return same_model and not other_snapshot


def _vendor(name: str) -> str:
    """The first word of the name, which identifies the vendor: claude, gemini, gpt."""
    return name.lstrip("~").partition("-")[0]
