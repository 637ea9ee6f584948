"""Lone surrogates: halves of the pair by which UTF-16 writes a character such as an emoji.

Servers that cut text in UTF-16 split a pair between two events of a stream, and models write lone halves. A Python str
can hold them, but no encoding can, so that storing or sending such a text would fail.
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


def whole_characters(text: str) -> str:
    """``text`` with each surrogate pair as one character, and U+FFFD for each lone surrogate."""
    if text.isascii() or not _HALF.search(text):
        return text
    # JSON joins the two halves of a character, and is the fastest that does.
    return _HALF.sub(UNKNOWN, json.loads(json.dumps(text)))


def split_off(text: str) -> tuple[str, str]:
    """``text`` in whole characters, and a surrogate at its end, which the next piece of the stream may complete."""
    end = len(text) - 1 if _SPLIT.search(text) else len(text)
    return whole_characters(text[:end]), text[end:]


def whole_json(text: str) -> str:
    """``text``, which is JSON or a piece of JSON, without lone surrogates, raw or in escapes."""
    text = whole_characters(text)
    return _ALONE.sub(rf"\1{UNKNOWN}", text) if may_hold_halves(text) else text


def may_hold_halves(text: str) -> bool:
    """Whether ``text`` may contain surrogates, raw or in escapes; the last escape may be incomplete."""
    if "\\" in text and ("\\ud" in text or "\\uD" in text or text.endswith(("\\", "\\u"))):
        return True
    return not text.isascii() and _HALF.search(text) is not None
