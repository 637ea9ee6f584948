"""Turns accounts into rows of the table's providers, each with a name and an environment variable for its key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from backend.tools.config_import.addresses import AZURE_HOSTS
from backend.tools.config_import.vendors import KNOWN, VENDORS, house_key_variable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backend.tools.config_import.accounts import ProviderAccount


@dataclass(frozen=True)
class ImportedProvider:
    """A provider of the table to be written, made from an account in the input.

    Attributes:
        name: The provider's name in the table.
        variable: The environment variable of its key; None for a server that needs no key.
    """

    name: str
    variable: str | None
    account: ProviderAccount

    def to_row(self) -> dict[str, object]:
        """Build the provider's row of the table, as a dict."""
        vendor = KNOWN.get(self.account.provider)
        base_url = self.account.base_url or (vendor.base_url if vendor else None)
        row = {"api": self.account.api, "base_url": base_url, "api_key_env": self.variable}
        return {key: value for key, value in row.items() if value is not None}


def make_imported_providers(accounts: Iterable[ProviderAccount]) -> dict[ProviderAccount, ImportedProvider]:
    """Make a provider of the table for each different account.

    A provider at the vendor's own address, with the vendor's usual key variable, gets the vendor's name. The
    names of other providers may also contain the host, to be unique.
    """
    ordered = sorted(dict.fromkeys(accounts), key=lambda account: not _is_usual(account))
    names = {"group"}  # which a chain would take for a group
    variables = {account.key.variable or _usual_variable(account) for account in ordered} - {""}
    rows: dict[ProviderAccount, ImportedProvider] = {}
    for account in ordered:
        name = _unique(_name(account, rows), names, "-")
        rows[account] = ImportedProvider(name, _variable(account, name, variables), account)
    return rows


def _is_usual(account: ProviderAccount) -> bool:
    """Whether ``account`` is a vendor at its own address, with the key in its usual variable."""
    key = account.key
    return account.base_url is None and key.needed and key.secret is None and key.variable is None


def _usual_variable(account: ProviderAccount) -> str:
    return house_key_variable(account.provider) if _is_usual(account) else ""


def _name(account: ProviderAccount, above: Iterable[ProviderAccount]) -> str:
    """The provider's own name, with the host for a second address of that name or an address that is not a vendor's."""
    name = re.sub(r"[^a-z0-9_-]+", "-", account.provider.lower()).strip("-_")
    name = name if name[:1].isalpha() else f"provider-{name}".rstrip("-")
    elsewhere = {other.base_url for other in above if other.provider == account.provider}
    if account.base_url is None or (account.provider not in VENDORS and elsewhere <= {account.base_url}):
        return name
    place = urlsplit(account.base_url).netloc.lower()
    # A resource's own name tells it apart from others.
    place = place.partition(".")[0] if place.endswith(AZURE_HOSTS) else place
    host = re.sub(r"[^a-z0-9]+", "-", place)
    return f"{name}-{host}".strip("-")


def _variable(account: ProviderAccount, name: str, taken: set[str]) -> str | None:
    if not account.key.needed:
        return None
    if account.key.variable:
        return account.key.variable
    if usual := _usual_variable(account):
        return usual
    return _unique(re.sub(r"[^A-Z0-9]", "_", f"{name}_api_key".upper()), taken, "_")


def _unique(wanted: str, taken: set[str], joint: str) -> str:
    """``wanted``, or with the next free number; the result is taken from now on."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}{joint}{number}"
    taken.add(name)
    return name
