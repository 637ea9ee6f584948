"""Accounts: a provider, its address and its key, which become a row of providers.

Keys are compared, to tell accounts apart, and never written. A wrong value is reported and replaced by a harmless one, so that
reading continues; no table is then written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pydantic import SecretStr, ValidationError

from backend.tools.config_import.addresses import split, translated_address
from backend.tools.config_import.findings import SECRET_LENGTH, looks_secret
from backend.tools.config_import.nodes import unless_null
from backend.tools.config_import.vendors import KNOWN, house_variable, vendor_at
from backend.utils.llm.model_config.schema import LOOPBACK, ProviderRow
from backend.utils.llm.secrets import is_key

if TYPE_CHECKING:
    from backend.tools.config_import.nodes import Node
    from backend.tools.config_import.specs import Spec
    from backend.utils.llm.options import Api

Placeholder = Literal["nothing", "key", "mask", "filler", "variable"]
"""The stand-in for a key in the input."""

_REFERENCE = "os.environ/"
_FILLERS = {
    "-",
    "anything",
    "dummy",
    "empty",
    "fake",
    "fake-key",
    "lm-studio",
    "n/a",
    "no-key",
    "none",
    "not-needed",
    "null",
    "ollama",
    "placeholder",
    "sk-1234",
    "sk-no-key-required",
    "test",
    "x",
}


@dataclass(frozen=True)
class Key:
    """Where the key of an account comes from: a literal, an environment variable, or nowhere.

    Attributes:
        secret: The key itself, if the input holds it.
        variable: The variable that the input names.
        needed: Whether a key is needed at all.
    """

    secret: SecretStr | None = None
    variable: str | None = None
    needed: bool = True


@dataclass(frozen=True)
class Account:
    """The credentials for a server: provider, address and key. Models with equal accounts share one row of providers.

    Attributes:
        provider: The provider's name in the input.
        base_url: The address; None for the vendor's own.
    """

    provider: str
    api: Api
    base_url: str | None
    key: Key


def account_of(spec: Spec, provider: str, model: str) -> tuple[Account, Placeholder]:
    """Read the account with which the input calls ``model``.

    Args:
        spec: The model's entry in the input.
        provider: The provider's name in the input.
        model: The provider's name of the model.

    Returns:
        The account, and the text in the input that stands for its key.
    """
    placeholder, key = _key(unless_null(spec.api_key))
    address = _address(unless_null(spec.api_base))
    provider = vendor_at(provider, address)
    vendor = KNOWN.get(provider)
    if vendor and (address is None or address.rstrip("/") in vendor.addresses):
        kept = replace(key, needed=False) if vendor.keyless and placeholder == "nothing" else key
        return Account(provider, vendor.api, None, _house_key(kept, provider)), placeholder
    account = Account(provider, "openai", address, _server_key(placeholder, key, address or ""))
    return _checked(spec.api_base, account, model), placeholder


# Keys -------------------------------------------------------------------------------------------------------------


def _key(node: Node | None) -> tuple[Placeholder, Key]:
    text = (node.text() or "") if node else ""
    if node is None or not text:
        return "nothing", Key()
    if not text.strip("*"):
        return "mask", Key()
    if text.lower() in _FILLERS:
        return "filler", Key(needed=False)
    if text.startswith(_REFERENCE):
        return "variable", Key(variable=_variable(node, text.removeprefix(_REFERENCE)))
    node.findings.hide(text)
    return "key", Key(secret=SecretStr(text))


def _variable(node: Node, name: str) -> str:
    if re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        return name
    node.report(
        "wrong", "names a variable that is not written A-Z, 0-9 and _, with a letter first. Rename it."
    )
    return "KEY"


def _house_key(key: Key, vendor: str) -> Key:
    """``key``; an empty `Key` if it is in the vendor's usual variable."""
    usual = key.needed and key.secret is None and key.variable in {None, house_variable(vendor)}
    return Key() if usual else key


def _server_key(placeholder: Placeholder, key: Key, address: str) -> Key:
    """``key``, if it was given or the server is publicly reachable; else a key that is not needed."""
    parts = split(address)
    if placeholder != "nothing" or (parts.scheme == "https" and parts.hostname not in LOOPBACK):
        return key
    return Key(needed=False)


# Addresses --------------------------------------------------------------------------------------------------------


def _address(node: Node | None) -> str | None:
    return (node.text() or None) if node else None


def _checked(node: Node | None, account: Account, model: str) -> Account:
    """``account`` at an address that can be called; without a base URL, and with a finding, if there is none."""
    if node is None or account.base_url is None:
        return account
    address = translated_address(account.provider, model, account.base_url)
    asked = replace(account, api=address.api, base_url=address.base_url)
    # What is no address at all, or holds a key, is told before what it could be.
    if refusal := _refusal(account.base_url, asked) or address.refusal or _unfit(asked):
        hint = " What is secret belongs in api_key." if "key" in refusal or "password" in refusal else ""
        node.report("wrong", f"{refusal.rstrip('.')}.{hint}")
        return replace(asked, base_url=None)
    if address.note:
        node.report("changed", address.note)
    return asked


def _refusal(address: str, account: Account) -> str | None:
    """Why no row may have ``address``, for any provider."""
    if address.startswith(_REFERENCE):
        return "names a variable, and a table says the address itself"
    if _holds_key(address, account.key):
        return "must not hold a key"
    if not is_key(address):
        return "must be ASCII without white space"
    parts = split(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "must be an http or https address"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "must hold no user, password, query or fragment"
    return None


def _unfit(account: Account) -> str | None:
    """Why no row can describe ``account``."""
    variable = "KEY" if account.key.needed else None
    try:
        ProviderRow(api=account.api, api_key_env=variable, base_url=account.base_url)
    except ValidationError as error:
        return str(error.errors()[0]["msg"]).removeprefix("Value error, ")
    return None


def _holds_key(address: str, key: Key) -> bool:
    path = split(address).path
    secret = key.secret.get_secret_value() if key.secret else ""
    return looks_secret(path) or (len(secret) >= SECRET_LENGTH and secret in path)
