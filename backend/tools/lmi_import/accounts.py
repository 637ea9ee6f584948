"""Accounts: the provider, its address and its key, which become a row of providers.

A key is compared, to tell accounts apart, and never written. What is wrong is noted and replaced by something
harmless, so that the reader goes on; nothing is written after that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr, ValidationError

from backend.tools.lmi_import.findings import SECRET_LENGTH, looks_secret
from backend.tools.lmi_import.nodes import given
from backend.tools.lmi_import.vendors import VENDORS, house_variable
from backend.utils.llm.model_config.schema import LOOPBACK, ProviderRow
from backend.utils.llm.secrets import is_key

if TYPE_CHECKING:
    from backend.tools.lmi_import.nodes import Node
    from backend.tools.lmi_import.specs import Spec
    from backend.utils.llm.options import Api

Placeholder = Literal["nothing", "key", "mask", "filler", "variable"]
"""What stands in the place of a key."""

_REFERENCE = "os.environ/"
_FILLERS = {
    "dummy",
    "empty",
    "fake",
    "n/a",
    "no-key",
    "none",
    "not-needed",
    "null",
    "sk-no-key-required",
    "x",
}
_PROTOCOL = {
    "anthropic": "Anthropic's Messages API",
    "gemini": "Google's Gemini API",
    "openai": "OpenAI's Chat Completions",
}


@dataclass(frozen=True)
class Key:
    """The source of a key.

    Attributes:
        secret: The key itself, if the input holds it.
        variable: The variable that the input names.
        needed: Whether there is one at all.
    """

    secret: SecretStr | None = None
    variable: str | None = None
    needed: bool = True


@dataclass(frozen=True)
class Account:
    """One address, asked with one key. Equal accounts share a row.

    Attributes:
        provider: Its name in the input.
        base_url: Its address; None if it is the vendor's own.
    """

    provider: str
    api: Api
    base_url: str | None
    key: Key


def account_of(spec: Spec, provider: str) -> tuple[Account, Placeholder]:
    """The account that ``spec`` is asked of, and what the input has in place of a key."""
    placeholder, key = _key(given(spec.api_key))
    vendor = VENDORS.get(provider)
    address = _address(given(spec.api_base))
    if vendor and (address is None or address.rstrip("/") in vendor.addresses):
        return Account(provider, vendor.api, None, _house_key(key, provider)), placeholder
    api = vendor.api if vendor else "openai"
    account = Account(provider, api, address, _server_key(placeholder, key, address or ""))
    return _checked(spec.api_base, account), placeholder


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
    """``key``, or what stands for the one that is in the vendor's usual variable."""
    usual = key.secret is None and key.variable in {None, house_variable(vendor)}
    return Key() if usual else key


def _server_key(placeholder: Placeholder, key: Key, address: str) -> Key:
    """A server at an address of its own needs a key if it was given one, or can be reached from everywhere."""
    parts = _split(address)
    if placeholder != "nothing" or (parts.scheme == "https" and parts.hostname not in LOOPBACK):
        return key
    return Key(needed=False)


# Addresses --------------------------------------------------------------------------------------------------------


def _address(node: Node | None) -> str | None:
    return (node.text() or None) if node else None


def _checked(node: Node | None, account: Account) -> Account:
    if node is None or account.base_url is None:
        return account
    if refusal := _refusal(account.base_url, account):
        node.report("wrong", f"{refusal}. What is secret belongs in api_key.")
        return replace(account, base_url=None)
    if account.provider != "openai":
        node.report("guessed", f"is taken for a server that speaks {_PROTOCOL[account.api]}.")
    return account


def _refusal(address: str, account: Account) -> str | None:
    """Why a row cannot hold ``address``."""
    if address.startswith(_REFERENCE):
        return "names a variable, and a table says the address itself"
    if _holds_key(address, account.key):
        return "must not hold a key"
    if not is_key(address):
        return "must be ASCII without white space"
    variable = "KEY" if account.key.needed else None
    try:
        ProviderRow(api=account.api, api_key_env=variable, base_url=address)
    except ValidationError as error:
        return str(error.errors()[0]["msg"]).removeprefix("Value error, ")
    return None


def _holds_key(address: str, key: Key) -> bool:
    path = _split(address).path
    secret = key.secret.get_secret_value() if key.secret else ""
    return looks_secret(path) or (len(secret) >= SECRET_LENGTH and secret in path)


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")
