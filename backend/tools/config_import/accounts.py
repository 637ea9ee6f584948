"""Reads accounts from the input: a provider, its address and its API key. Accounts become rows of the table's providers.

Keys are compared, to tell accounts apart, and never written. A wrong value is reported and replaced by a
harmless one, so that reading continues; no table is then written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pydantic import SecretStr, ValidationError

from backend.tools.config_import.addresses import split_url, translate_server_address
from backend.tools.config_import.findings import SECRET_LENGTH, looks_like_api_key
from backend.tools.config_import.nodes import none_if_null
from backend.tools.config_import.vendors import KNOWN, find_vendor_by_address, house_key_variable
from backend.utils.llm.model_config.schema import LOOPBACK, ProviderRow
from backend.utils.llm.secrets import is_valid_key

if TYPE_CHECKING:
    from backend.tools.config_import.nodes import ConfigNode
    from backend.tools.config_import.specs import ModelSpec
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
class KeySource:
    """Where an account's API key comes from in the input: the text itself, an environment variable, or nowhere.

    Attributes:
        secret: The key itself, if the input contains it; else None.
        variable: The environment variable that the input names; else None.
        needed: Whether the server needs a key at all.
    """

    secret: SecretStr | None = None
    variable: str | None = None
    needed: bool = True


@dataclass(frozen=True)
class ProviderAccount:
    """A provider's server and the key to call it with. Equal accounts become one provider of the table.

    Attributes:
        provider: The provider's name in the input.
        base_url: The server's base URL; None for the vendor's own server.
    """

    provider: str
    api: Api
    base_url: str | None
    key: KeySource


def read_provider_account(spec: ModelSpec, provider: str, model: str) -> tuple[ProviderAccount, Placeholder]:
    """Read from the input the server and the key with which ``model`` is called.

    Args:
        spec: The model's entry in the input.
        provider: The provider's name in the input.
        model: The model's name at the provider.

    Returns:
        The account, and what the input has in place of its key, such as a variable or a mask.
    """
    placeholder, key = _key(none_if_null(spec.api_key))
    address = _address(none_if_null(spec.api_base))
    provider = find_vendor_by_address(provider, address)
    vendor = KNOWN.get(provider)
    if vendor and (address is None or address.rstrip("/") in vendor.addresses):
        kept = replace(key, needed=False) if vendor.keyless and placeholder == "nothing" else key
        return ProviderAccount(provider, vendor.api, None, _house_key(kept, provider)), placeholder
    account = ProviderAccount(provider, "openai", address, _server_key(placeholder, key, address or ""))
    return _checked(spec.api_base, account, model), placeholder


# Keys -------------------------------------------------------------------------------------------------------------


def _key(node: ConfigNode | None) -> tuple[Placeholder, KeySource]:
    text = (node.read_text() or "") if node else ""
    if node is None or not text:
        return "nothing", KeySource()
    if not text.strip("*"):
        return "mask", KeySource()
    if text.lower() in _FILLERS:
        return "filler", KeySource(needed=False)
    if text.startswith(_REFERENCE):
        return "variable", KeySource(variable=_variable(node, text.removeprefix(_REFERENCE)))
    node.findings.mask_secret(text)
    return "key", KeySource(secret=SecretStr(text))


def _variable(node: ConfigNode, name: str) -> str:
    if re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        return name
    node.report_finding(
        "wrong", "names a variable that is not written A-Z, 0-9 and _, with a letter first. Rename it."
    )
    return "KEY"


def _house_key(key: KeySource, vendor: str) -> KeySource:
    """``key``; an empty `KeySource` if it is in the vendor's usual variable."""
    usual = key.needed and key.secret is None and key.variable in {None, house_key_variable(vendor)}
    return KeySource() if usual else key


def _server_key(placeholder: Placeholder, key: KeySource, address: str) -> KeySource:
    """``key``, if it was given or the server is publicly reachable; else a key that is not needed."""
    parts = split_url(address)
    if placeholder != "nothing" or (parts.scheme == "https" and parts.hostname not in LOOPBACK):
        return key
    return KeySource(needed=False)


# Addresses --------------------------------------------------------------------------------------------------------


def _address(node: ConfigNode | None) -> str | None:
    return (node.read_text() or None) if node else None


def _checked(node: ConfigNode | None, account: ProviderAccount, model: str) -> ProviderAccount:
    """``account`` at an address that can be called; without a base URL, and with a finding, if there is none."""
    if node is None or account.base_url is None:
        return account
    address = translate_server_address(account.provider, model, account.base_url)
    asked = replace(account, api=address.api, base_url=address.base_url)
    # What is no address at all, or holds a key, is told before what it could be.
    if refusal := _refusal(account.base_url, asked) or address.refusal or _unfit(asked):
        hint = " What is secret belongs in api_key." if "key" in refusal or "password" in refusal else ""
        node.report_finding("wrong", f"{refusal.rstrip('.')}.{hint}")
        return replace(asked, base_url=None)
    if address.note:
        node.report_finding("changed", address.note)
    return asked


def _refusal(address: str, account: ProviderAccount) -> str | None:
    """Why no row may have ``address``, for any provider."""
    if address.startswith(_REFERENCE):
        return "names a variable, and a table says the address itself"
    if _holds_key(address, account.key):
        return "must not hold a key"
    if not is_valid_key(address):
        return "must be ASCII without white space"
    parts = split_url(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "must be an http or https address"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "must hold no user, password, query or fragment"
    return None


def _unfit(account: ProviderAccount) -> str | None:
    """Why no row can describe ``account``."""
    variable = "KEY" if account.key.needed else None
    try:
        ProviderRow(api=account.api, api_key_env=variable, base_url=account.base_url)
    except ValidationError as error:
        return str(error.errors()[0]["msg"]).removeprefix("Value error, ")
    return None


def _holds_key(address: str, key: KeySource) -> bool:
    path = split_url(address).path
    secret = key.secret.get_secret_value() if key.secret else ""
    return looks_like_api_key(path) or (len(secret) >= SECRET_LENGTH and secret in path)
