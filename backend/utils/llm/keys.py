"""What a provider's key may look like, and how one is named without telling it."""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import SecretStr

_PROCESS = secrets.token_bytes(32)


def is_key(text: str) -> bool:
    """Whether ``text`` could be a key: printable ASCII without spaces.

    What is not could not travel in a header, and an HTTP library that refuses it would show it in its error.
    """
    return text.isascii() and text.isprintable() and " " not in text


def fingerprint(secret: SecretStr | None, place: str = "") -> str:
    """A name for a key that tells nothing about it, and is another one in every process.

    Args:
        secret: The key.
        place: Where it is for, if who is meant does not follow from the provider's name.
    """
    if secret is None:
        return "open"
    named = f"{secret.get_secret_value()} {place}" if place else secret.get_secret_value()
    return blake2b(named.encode(), digest_size=8, key=_PROCESS).hexdigest()
