"""The form of a provider's key, and fingerprints that name one without revealing it."""

from __future__ import annotations

import secrets
from hashlib import blake2b

from pydantic import SecretStr

_PROCESS = secrets.token_bytes(32)


def is_key(text: str) -> bool:
    """Whether ``text`` could be a key: printable ASCII without spaces.

    What is not could not travel in a header, and an HTTP library that refuses it would show it in its error.
    """
    return text.isascii() and text.isprintable() and " " not in text


class KeptSecret(SecretStr):
    """A key that somebody keeps, and opens when its value is asked for: to sign a request, and for nothing else.

    Attributes:
        name: Tells which key it is, to whoever does not want it opened. It is no secret.
    """

    name: str


def fingerprint(secret: SecretStr | None, place: str = "") -> str:
    """A name for a key that tells nothing about it, and is another one in every process that was not forked.

    Args:
        secret: The key. One that is kept is not opened.
        place: Where it is for, if who is meant does not follow from the provider's name.
    """
    if secret is None:
        return "open"
    named = f"kept {secret.name}" if isinstance(secret, KeptSecret) else secret.get_secret_value()
    if place:
        named += f" {place}"
    return blake2b(named.encode(), digest_size=8, key=_PROCESS).hexdigest()
