"""The form of a provider's key, and fingerprints that name one without revealing it."""

from __future__ import annotations

import re
import secrets
from hashlib import blake2b

from pydantic import SecretStr

QUOTES = frozenset("\"'`")
PROCESS_KEY = secrets.token_bytes(32)
"""The hash key of fingerprints that differ from process to process."""


def is_key(text: str) -> bool:
    """Whether ``text`` could be a key: see `key_problem`."""
    return key_problem(text) is None


def key_problem(text: str) -> str | None:
    """Why ``text`` cannot be a provider's key, without a quotation of it; None if it can: printable ASCII without spaces.

    Other text cannot be sent in a header, and an HTTP library that refuses such a key would show it in its error.
    """
    if "…" in text or text.endswith("..."):
        return "is cut short, as an example shows it: put the whole key there"
    if text[:1] in QUOTES and text[-1:] in QUOTES:
        return "stands in quotation marks, which are no part of a key"
    if not (text.isascii() and text.isprintable() and " " not in text):
        return "holds characters that no key has"
    return None


VENDORS_KEY = re.compile(
    r"(?<![A-Za-z0-9-])(?:sk-|gsk_|hf_|xai-|pplx-|ghp_|github_pat_|AKIA|ya29\.)[\w-]{8,}"
    r"|AIza[\w-]{16,}|\beyJ[\w-]{8,}\.[\w-]+\.",
    re.IGNORECASE,
)
"""Matches text with the prefixes of vendors' keys."""
KEY_LIKE = re.compile(rf"{VENDORS_KEY.pattern}|\b(?:Bearer|Basic)\s+\S+", re.IGNORECASE)
"""Matches parts of a text that are most likely keys."""


def looks_like_key(text: str) -> bool:
    """Whether ``text`` contains something that is most likely a key."""
    return KEY_LIKE.search(text) is not None


class KeptSecret(SecretStr):
    """A stored key, which is decrypted only when a request is signed with it.

    Attributes:
        name: The name of the key, which is no secret and identifies the key without decrypting it.
        fingerprint: A keyed hash of the key that is the same in every process; None if there is none.
    """

    name: str
    fingerprint: str | None = None


def fingerprint(secret: SecretStr | None, place: str = "", key: bytes = PROCESS_KEY) -> str:
    """A keyed hash that names ``secret`` without revealing it.

    Args:
        secret: The key. A `KeptSecret` is not decrypted.
        place: The address that the key is for, if the provider's name does not determine it.
        key: The hash key; by default a random one for each process and its forks.
    """
    if secret is None:
        return "open"
    named = f"kept {secret.name}" if isinstance(secret, KeptSecret) else secret.get_secret_value()
    if place:
        named += f" {place}"
    return blake2b(named.encode(), digest_size=8, key=key).hexdigest()
