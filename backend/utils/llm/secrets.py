"""The form of a provider's key, and fingerprints that name one without revealing it."""

from __future__ import annotations

import re
import secrets
from hashlib import blake2b

from pydantic import SecretStr

QUOTES = frozenset("\"'`")
PROCESS_KEY = secrets.token_bytes(32)
"""What fingerprints are keyed with that are another one in every process."""


def is_key(text: str) -> bool:
    """Whether ``text`` could be a key: see `key_problem`."""
    return key_problem(text) is None


def key_problem(text: str) -> str | None:
    """Why ``text`` is no key, without telling it; None if it could be one: printable ASCII without spaces.

    What is not could not travel in a header, and an HTTP library that refuses it would show it in its error.
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
"""What begins as vendors' keys do."""
KEY_LIKE = re.compile(rf"{VENDORS_KEY.pattern}|\b(?:Bearer|Basic)\s+\S+", re.IGNORECASE)
"""What in a text is most likely a key."""


def looks_like_key(text: str) -> bool:
    """Whether ``text`` holds what is most likely a key."""
    return KEY_LIKE.search(text) is not None


class KeptSecret(SecretStr):
    """A key that somebody keeps, and opens when its value is asked for: to sign a request, and for nothing else.

    Attributes:
        name: Tells which key it is, to whoever does not want it opened. It is no secret.
        fingerprint: A keyed hash of the key that lasts; None if there is none.
    """

    name: str
    fingerprint: str | None = None


def fingerprint(secret: SecretStr | None, place: str = "", key: bytes = PROCESS_KEY) -> str:
    """A name for a key that tells nothing about it.

    Args:
        secret: The key. One that is kept is not opened.
        place: Where it is for, if who is meant does not follow from the provider's name.
        key: What the hash is keyed with; by default it is another one in every process that was not forked.
    """
    if secret is None:
        return "open"
    named = f"kept {secret.name}" if isinstance(secret, KeptSecret) else secret.get_secret_value()
    if place:
        named += f" {place}"
    return blake2b(named.encode(), digest_size=8, key=key).hexdigest()
