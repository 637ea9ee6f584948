"""What a provider's key may look like."""

from __future__ import annotations


def is_key(text: str) -> bool:
    """Whether ``text`` could be a key: printable ASCII without spaces.

    What is not could not travel in a header, and an HTTP library that refuses it would show it in its error.
    """
    return text.isascii() and text.isprintable() and " " not in text
