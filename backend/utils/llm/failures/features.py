"""Detects which feature an error reports as unsupported. An error that names none, or two, is ignored."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .evidence import FailureEvidence

_LACK: Final = (
    r"(?:(?:\bnot|n't|\bcannot)\b(?: \w+){0,3} (?:support\w*|enabled|available|allowed|permitted|accept\w*)"
    r"|\bnot support\w*|n't support\w*|\bunsupported\b|\bunavailable\b|\bunknown\b|\bunrecogni[sz]ed\b"
    r"|no (?:endpoints?|providers?) found that support)"
)
_CODES: Final = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter"})
_WORDS: Final[Mapping[str, str]] = {
    "tools": r"tools?(?!_)(?: use| calls?| calling)?|function[ _]call(?:s|ing)?|functions",
    "structured_output": r"response_?format|json_?schema|structured outputs?|json mode|response_mime_type",
    "images": r"images?(?: inputs?)?|vision|image_url",
    "audio": r"audio(?: inputs?)?|input_audio",
    "video": r"videos?(?: inputs?)?",
    "pdf": r"pdfs?|documents?(?: inputs?)?|file inputs?",
    "streams": r"streaming",
    "temperature": r"temperature",
    "top_p": r"top_p",
    "seed": r"seed",
    "effort": r"reasoning[_ .]effort|thinking_?level",
    "thinking_budget": r"thinking_?budget",
    "logprobs": r"(?:response_?|top_)?logprobs",
    "verbosity": r"verbosity",
    "service_tier": r"service_tier",
    "metadata": r"metadata",
    "user": r"parameter:? user",
}
"""Names of needs and of options, and what errors call them."""
_OF_ONE_REQUEST: Final = re.compile(
    r"format of|\b(?:image|file|media|mime|content|audio|video|document) types?\b|\bmime|size|resolution|extension|\burl\b|\btoo\b|schema for",
    re.IGNORECASE,
)
"""Of an error about what one request holds: another one may be served."""
_NAMED: Final = {name: re.compile(rf"(?:{words})", re.IGNORECASE) for name, words in _WORDS.items()}
_LACKING: Final = {
    name: re.compile(rf"\b(?:{words})\b[^.]{{0,60}}{_LACK}|{_LACK}[^.]{{0,60}}\b(?:{words})\b", re.IGNORECASE)
    for name, words in _WORDS.items()
}
_ANY_LACK: Final = re.compile(_LACK, re.IGNORECASE)


def find_unsupported_capability(evidence: FailureEvidence) -> str | None:
    """Find the one capability or option that an error reports as unsupported; None if it names none or several."""
    if _OF_ONE_REQUEST.search(evidence.sentence):
        return None
    if not (evidence.codes & _CODES or _ANY_LACK.search(evidence.sentence)):
        return None
    found = {name for name, words in _NAMED.items() if any(map(words.fullmatch, evidence.params))} or {
        name for name, words in _NAMED.items() if _is_lacking(name, words, evidence.sentence)
    }
    return found.pop() if len(found) == 1 else None


def _is_lacking(name: str, words: re.Pattern[str], sentence: str) -> bool:
    """Whether ``sentence`` says that ``name`` is unsupported. The words around it are searched only if it occurs."""
    return words.search(sentence) is not None and _LACKING[name].search(sentence) is not None
