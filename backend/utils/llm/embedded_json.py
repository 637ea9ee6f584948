"""Finds JSON in the middle of a text: after thoughts, in a Markdown block, between two sentences."""

from __future__ import annotations

import json
import re
from collections import deque
from typing import Final

MOST_STARTS: Final = 64
"""The most braces and brackets that begin no document that are tried in a text."""
MOST_DOCUMENTS: Final = 64
"""The most documents that are read from a text; the rest is not searched."""
LONGEST: Final = 1_000_000
"""The longest text that is searched, in characters."""
_START: Final = re.compile(r"[{\[]")
_THOUGHTS: Final = re.compile(r"[<\[◁](/?)(?:think|thinking|thought|thoughts|reasoning)[>\]▷]", re.IGNORECASE)
"""As most write them; in brackets Magistral, between triangles Kimi."""
_DECODER: Final = json.JSONDecoder(strict=False, parse_int=str, parse_float=str)
"""Only where a document ends is of interest."""


def find_json_documents(text: str) -> list[str]:
    """Find the JSON objects and arrays in ``text``, outside of the model's thoughts, as unparsed strings.

    Takes time linear in the length of ``text``. A text that would take longer, with many broken objects,
    gives an empty list.
    """
    text = _without_thoughts(text[:LONGEST])
    found: list[str] = []
    at, left, starts = 0, len(text), MOST_STARTS
    while left >= 0 and starts and len(found) <= MOST_DOCUMENTS:
        start = _START.search(text, at)
        if start is None:
            return found
        try:
            _, at = _DECODER.raw_decode(text, start.start())
        except json.JSONDecodeError as error:
            at, starts = start.end(), starts - 1
            # A text that does not end was read to the end of all, though its beginning is told.
            left -= (len(text) if error.msg.startswith("Unterminated") else error.pos) - at
        except RecursionError:
            break
        else:
            found.append(text[start.start() : at])
    return []


def _without_thoughts(text: str) -> str:
    """The text after the last thought; if a thought does not end, the text before it."""
    last = deque(_THOUGHTS.finditer(text), maxlen=1)
    if not last:
        return text
    return text[last[0].end() :] if last[0][1] else text[: last[0].start()]
