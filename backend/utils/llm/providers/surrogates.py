"""Repairs lone surrogates: halves of the pair by which UTF-16 encodes a character such as an emoji.

Servers that cut text in UTF-16 split a pair between two events of a stream, and models write lone
halves. A Python string can hold a lone half, but no encoding can, so that storing or sending such a text
would fail.
"""

from __future__ import annotations

import json
import re

UNKNOWN = "\ufffd"
"""U+FFFD, which stands for a character that cannot be shown."""
_HALF = re.compile("[\ud800-\udfff]")
_SPLIT = re.compile("[\ud800-\udbff]\\Z")
_HIGH, _LOW = r"\\u[dD][89abAB][0-9a-fA-F]{2}", r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ALONE = re.compile(rf"(?<!\\)((?:\\\\)*)(?:{_HIGH}(?!{_LOW})|(?<!{_HIGH}){_LOW})")


def repair_surrogates(text: str) -> str:
    """Join surrogate pairs in ``text`` into single characters, and replace lone surrogates by U+FFFD."""
    if text.isascii() or not _HALF.search(text):
        return text
    # JSON joins the two halves of a character, and is the fastest that does.
    return _HALF.sub(UNKNOWN, json.loads(json.dumps(text)))


def split_trailing_surrogate(text: str) -> tuple[str, str]:
    """Repair the surrogates in ``text``, but split off a high surrogate at its end.

    Returns:
        The repaired text; and the split-off surrogate to put before the next piece of the stream, or "".
    """
    end = len(text) - 1 if _SPLIT.search(text) else len(text)
    return repair_surrogates(text[:end]), text[end:]


def repair_json_surrogates(text: str) -> str:
    """Replace lone surrogates in JSON text, both raw and as escapes. The text may be a piece of JSON."""
    text = repair_surrogates(text)
    return _ALONE.sub(rf"\1{UNKNOWN}", text) if may_contain_surrogates(text) else text


def may_contain_surrogates(text: str) -> bool:
    """Whether JSON text may contain surrogates, raw or escaped, or ends within an escape."""
    if "\\" in text and ("\\ud" in text or "\\uD" in text or text.endswith(("\\", "\\u"))):
        return True
    return not text.isascii() and _HALF.search(text) is not None
