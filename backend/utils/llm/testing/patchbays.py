"""Makes patchbays for tests: the real facade, with a loopback provider instead of all providers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from ..model_config import Table
from ..patchbay import Patchbay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ..clock import Time
    from ..ledger.sinks import LedgerSink
    from ..ledger.texts import TextSink
    from ..model_config import Provider
    from ..patchbay import Observer
    from ..routing.selector import Selector
    from ..state.budget_store import BudgetStore
    from ..transport import AddressSource
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
    """Make a table, as TOML, whose providers are ``openai``, ``gemini`` and ``anthropic`` on loopback.

    Args:
        provider: The loopback provider, which must be running.
        features: The endpoint of each feature, or its fallback chain, such as ``{"greet":
            "openai:gpt-6-luna"}``. They are put into the profiles ``premium`` and ``byok``.
        more: Further sections of the table, as TOML.
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

    def current_address(self) -> Self:
        return self

    def address(self, timeout: float) -> Self:  # noqa: ARG002 - as of `AddressSource`
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
    """Make a patchbay in which the loopback provider replaces all providers.

    Put it in force with `use`, and `close` it at the end.

    Args:
        provider: The loopback provider, which must be running.
        features: The endpoint of each feature, or its fallback chain.
        more: Further sections of the table, as TOML.
        table: The path of your own table, instead of ``features`` and ``more``. The loopback provider
            takes the place of all its providers.
        environ: Environment variables with the operator's keys; by default a fake key for each account.
        time: The clock for waits before retries, such as ``VirtualTime().time``.
        observer: See `Patchbay`.
        ledger: See `Patchbay`.
        ledger_secret: See `Patchbay`.
        texts: See `Patchbay`.
        selectors: See `Patchbay`.
        budgets: See `Patchbay`.
    """
    live: dict[str, AddressSource] = {}
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


def fake_operator_key(variable: str) -> str:
    """Return a fake operator's key for the environment variable ``variable``, for tests."""
    return f"house-key-of-{variable.lower()}"


def find_loopback_path(provider: Provider) -> str:
    """Return the path, such as ``/v1``, under which a loopback provider serves the API of ``provider``."""
    if provider.api == "openai":
        return "/v1"
    found = _VERSION.search(provider.base_url)
    return found[1] if found else ""


def make_replacement_addresses(
    providers: Iterable[Provider], find_base_url: Callable[[Provider], str]
) -> dict[str, AddressSource]:
    """Make the argument ``live`` of `Patchbay` that redirects the requests of ``providers``.

    Args:
        providers: The providers to redirect.
        find_base_url: Returns the base URL to use instead of the provider's own.

    Returns:
        The address for each provider's name.
    """
    return {provider.name: _Stands(find_base_url(provider)) for provider in providers}


def _own(
    path: Path, provider: LoopbackProvider, environ: Mapping[str, str] | None
) -> tuple[Table, dict[str, AddressSource]]:
    """The table at ``path`` with a key for each of its accounts, and the stand-ins' addresses."""
    providers = Table(path, environ={}).snapshot.providers.values()
    keys = {name: fake_operator_key(name) for provider in providers for name in provider.api_key_envs}
    made = Table(path, environ=keys if environ is None else environ)
    return made, make_replacement_addresses(
        providers, lambda item: f"{provider.origin}{find_loopback_path(item)}"
    )
