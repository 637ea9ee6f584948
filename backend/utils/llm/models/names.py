"""Names of a model: normalises those of the table, vendors and resellers, and compares them with that in an answer."""

from __future__ import annotations

import re
from functools import lru_cache

_DATE = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|\d{8}|\d{2}-\d{4}|\d{2}-\d{2}|\d{4}|00\d)$")
"""How vendors date the snapshots of a model."""
_WAYS = frozenset({"batch", "exacto", "floor", "free", "latest", "nitro", "online"})
"""What may stand behind a colon without making another model of it: OpenRouter's ways to serve it, Ollama's tag."""
_ALIAS = "-latest"


def normalize_model_name(name: str) -> str:
    """Spell a model's name as its vendor does: ``anthropic/claude-haiku-5.5:batch`` as ``claude-haiku-5-5``."""
    bare = name.lower().rpartition("/")[2]
    base, _, tag = bare.partition(":")
    bare = base if tag in _WAYS else bare
    return bare.replace(".", "-") if bare.startswith("claude-") else bare


def strip_snapshot_date(name: str) -> str:
    """Remove a snapshot's date from a normalized name: ``gpt-6-luna-2026-11-01`` becomes ``gpt-6-luna``."""
    return _DATE.sub("", name)


@lru_cache(maxsize=4096)
def is_requested_model(requested: str, served: str | None) -> bool:
    """Whether the model that an answer names is the model that was requested.

    A dated snapshot of the requested model counts as the same model. So does the undated name, if a snapshot
    was requested. Another snapshot or model does not. For an alias (``…-latest``), any model of its vendor
    counts.

    Args:
        requested: The model as the request named it.
        served: The model as the answer named it; None, if the answer names no model, counts as the same.
    """
    asked, got = normalize_model_name(requested), normalize_model_name(served or requested)
    if asked.endswith(_ALIAS):
        return _vendor(asked) == _vendor(got)
    same_model = strip_snapshot_date(asked) == strip_snapshot_date(got)
    other_snapshot = asked != got and strip_snapshot_date(asked) != asked and strip_snapshot_date(got) != got
    return same_model and not other_snapshot


def _vendor(name: str) -> str:
    """The first word of the name, which identifies the vendor: claude, gemini, gpt."""
    return name.lstrip("~").partition("-")[0]
