"""Escapes and shortens untrusted text for logs, errors and terminals.

Providers' answers and names are such text. A line break would begin a new line of a log, an escape sequence would control
the terminal, and a direction mark would change the text that is shown.
"""

from __future__ import annotations

import re

LONGEST = 200
"""The most characters of a label, such as a model's name, a reason or an id."""
CUT = "…"
_ACTS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]")
"""Control characters, breaks of lines, what turns the direction of writing, and halves of characters.

Not the joiners, non-joiners and marks that Persian, Khmer, Hebrew or an emoji are written with.
"""


def escape_control_characters(text: str, keep: str = "") -> str:
    r"""Escape the control and direction characters in ``text``, as in ``\n``, ``\x1b`` or ``\u202e``.

    Args:
        text: A text of any length.
        keep: The control characters that stay as they are.
    """
    return _ACTS.sub(lambda found: found[0] if found[0] in keep else repr(found[0])[1:-1], text)


def sanitize_text(text: str) -> str:
    """Make untrusted ``text`` safe for a log line or an error: escape it, and cut it to `LONGEST` characters."""
    shown = escape_control_characters(text[: LONGEST + 1])
    return shown if len(shown) <= LONGEST else shown[: LONGEST - len(CUT)] + CUT
