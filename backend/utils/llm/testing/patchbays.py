"""Patchbays for tests: the real facade, with a loopback provider instead of all providers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from ..clients import Patchbay
from ..model_config import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ..clients import Observer
    from ..clock import Time
    from ..ledger.sinks import LedgerSink
    from ..ledger.texts import TextSink
    from ..model_config import Provider
    from ..routing.selector import Selector
    from ..state.budget_store import BudgetStore
    from ..transport import LiveAddress
    from .loopback import LoopbackProvider

HOUSE_KEYS = {
    f"LOOPBACK_{name.upper()}_KEY": f"house-key-of-{name}" for name in ("openai", "gemini", "anthropic")
}
"""The operator's keys in `loopback_table`: variable to value."""
_VERSION = re.compile(r"(/v1(?:beta|alpha)?(?:/publishers/google)?)/*$")
"""The version at the end of a base URL, which clients then leave out of their paths."""


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


class _Stands(NamedTuple):
    """The address of a stand-in for a provider: always ready, and with the provider's own key."""

    base_url: str
    key: None = None

    def current(self) -> Self:
        return self

    def address(self, timeout: float) -> Self:  # noqa: ARG002 - as of `LiveAddress`
        return self


def loopback_patchbay(  # noqa: PLR0913 - what `Patchbay` takes, and the table
    provider: LoopbackProvider,
    features: Mapping[str, str | Sequence[str]] | None = None,
    more: str = "",
    *,
    table: Path | str | None = None,
    environ: Mapping[str, str] | None = None,
    time: Time | None = None,
    observer: Observer | None = None,
    ledger: LedgerSink | None = None,
    ledger_secret: bytes | None = None,
    texts: TextSink | None = None,
    selectors: Mapping[str, Selector] | None = None,
    budgets: BudgetStore | None = None,
) -> Patchbay:
    """Make a patchbay whose providers are all ``provider``. Install it with `use`, and `close` it at the end.

    Args:
        provider: The running loopback provider.
        features: Feature to endpoint or chain.
        more: Further sections, as TOML.
        table: The file of your own table, instead of ``features`` and ``more``. ``provider`` replaces every provider in it.
        environ: Environment variables with the operator's keys; by default a key for each account.
        time: Time for tests of waits, such as that of a `VirtualTime`.
        observer: See `Patchbay`.
        ledger: See `Patchbay`.
        ledger_secret: See `Patchbay`.
        texts: See `Patchbay`.
        selectors: See `Patchbay`.
        budgets: See `Patchbay`.
    """
    live: dict[str, LiveAddress] = {}
    if table is None:
        text = loopback_table(provider, features or {}, more)
        made = Table(text=text, environ=HOUSE_KEYS if environ is None else environ)
    else:
        made, live = _own(Path(table), provider, environ)
    return Patchbay(
        made,
        live=live,
        time=time,
        observer=observer,
        ledger=ledger,
        ledger_secret=ledger_secret,
        texts=texts,
        selectors=selectors,
        budgets=budgets,
    )


def key_of(variable: str) -> str:
    """The value of the operator's key in the environment variable ``variable``, in tests with a loopback provider."""
    return f"house-key-of-{variable.lower()}"


def stand_in(provider: Provider) -> str:
    """The path of the base URL, such as ``/v1``, at which a loopback provider takes the place of ``provider``."""
    if provider.api == "openai":
        return "/v1"
    found = _VERSION.search(provider.base_url)
    return found[1] if found else ""


def stand_in_addresses(
    providers: Iterable[Provider], url: Callable[[Provider], str]
) -> dict[str, LiveAddress]:
    """The addresses for `Patchbay`'s ``live``: by name of each of ``providers`` the URL that ``url`` gives for it."""
    return {one.name: _Stands(url(one)) for one in providers}


def _own(
    path: Path, provider: LoopbackProvider, environ: Mapping[str, str] | None
) -> tuple[Table, dict[str, LiveAddress]]:
    """The table at ``path`` with a key for each of its accounts, and the stand-ins' addresses."""
    providers = Table(path, environ={}).snapshot.providers.values()
    keys = {name: key_of(name) for one in providers for name in one.api_key_envs}
    made = Table(path, environ=keys if environ is None else environ)
    return made, stand_in_addresses(providers, lambda one: f"{provider.origin}{stand_in(one)}")
