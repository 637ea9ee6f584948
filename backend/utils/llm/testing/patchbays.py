"""Patchbays for tests: the real facade, on a loopback provider instead of the world."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..clients import Patchbay
from ..model_config import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..clients import Observer
    from ..clock import Time
    from ..routing.selector import Selector
    from ..state.budget_store import BudgetStore
    from .loopback import LoopbackProvider

HOUSE_KEYS = {
    f"LOOPBACK_{name.upper()}_KEY": f"house-key-of-{name}" for name in ("openai", "gemini", "anthropic")
}
"""The house's keys at a loopback provider."""


def loopback_table(
    provider: LoopbackProvider, features: Mapping[str, str | Sequence[str]], more: str = ""
) -> str:
    """A table whose providers ``openai``, ``gemini`` and ``anthropic`` are all ``provider``.

    Args:
        provider: The running loopback provider.
        features: Feature to endpoint or chain, such as ``{"greet": "openai:gpt-6-luna"}``; the same in the profiles
            ``premium`` and ``byok``.
        more: Further sections, as TOML.
    """
    rows = "\n".join(f"{name} = {json.dumps(chain)}" for name, chain in features.items())
    return f"""
[providers.openai]
api = "openai"
base_url = "{provider.openai_url}"
api_key_env = "LOOPBACK_OPENAI_KEY"

[providers.gemini]
api = "gemini"
base_url = "{provider.gemini_url}"
api_key_env = "LOOPBACK_GEMINI_KEY"

[providers.anthropic]
api = "anthropic"
base_url = "{provider.anthropic_url}"
api_key_env = "LOOPBACK_ANTHROPIC_KEY"

[profiles.premium]
{rows}

[profiles.byok]
extends = "premium"

{more}
"""


def loopback_patchbay(  # noqa: PLR0913 - what `Patchbay` takes, and the table
    provider: LoopbackProvider,
    features: Mapping[str, str | Sequence[str]],
    more: str = "",
    *,
    environ: Mapping[str, str] = HOUSE_KEYS,
    time: Time | None = None,
    observer: Observer | None = None,
    selectors: Mapping[str, Selector] | None = None,
    budgets: BudgetStore | None = None,
) -> Patchbay:
    """A patchbay on `loopback_table`. Put it in force with `use`, and `close` it at the end.

    Args:
        provider: The running loopback provider.
        features: Feature to endpoint or chain.
        more: Further sections, as TOML.
        environ: The house's keys.
        time: A `VirtualTime`'s, for tests of waits.
        observer: As of `Patchbay`.
        selectors: As of `Patchbay`.
        budgets: As of `Patchbay`.
    """
    table = Table(text=loopback_table(provider, features, more), environ=environ)
    return Patchbay(table, time=time, observer=observer, selectors=selectors, budgets=budgets)
