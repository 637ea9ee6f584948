"""The form of a provider's key, and fingerprints that identify a key without revealing it."""

from __future__ import annotations

import re
import secrets
from hashlib import blake2b

from pydantic import SecretStr

QUOTES = frozenset("\"'`")
PROCESS_KEY = secrets.token_bytes(32)
"""The hash key of fingerprints that differ from process to process."""


def is_valid_key(text: str) -> bool:
    """Whether ``text`` has the form of an API key; `find_key_problem` says why not."""
    return find_key_problem(text) is None


def find_key_problem(text: str) -> str | None:
    """Explain why ``text`` cannot be an API key, without quoting it; None if it can.

    A key is printable ASCII without spaces. Other text cannot be sent in a header, and an HTTP library that
    refuses such a key would show it in its error.
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


def contains_likely_api_key(text: str) -> bool:
    """Whether ``text`` contains something that is most likely an API key."""
    return KEY_LIKE.search(text) is not None


class StoredSecret(SecretStr):
    """A stored API key, which is decrypted only when it is put into a request.

    Attributes:
        name: The name of the key, which is no secret and identifies the key without decrypting it.
        fingerprint: A keyed hash of the key that is the same in every process; None if there is none.
    """

    name: str
    fingerprint: str | None = None


def compute_fingerprint(secret: SecretStr | None, address: str = "", hash_key: bytes = PROCESS_KEY) -> str:
    """Compute a keyed hash that identifies ``secret`` without revealing it; ``open`` without a secret.

    Args:
        secret: The API key. A `StoredSecret` is not decrypted: its name is hashed.
        address: The address that the key is for, if the provider's name does not determine it.
        hash_key: The key of the hash; by default a random one, the same in this process and its forks.
    """
    if secret is None:
        return "open"
    named = f"kept {secret.name}" if isinstance(secret, StoredSecret) else secret.get_secret_value()
    if address:
        named += f" {address}"
    return blake2b(named.encode(), digest_size=8, key=hash_key).hexdigest()
