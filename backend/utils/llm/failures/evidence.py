"""The evidence of a failed attempt: the transport's observations first, then the exception.

The provider's codes come from the body of its error answer, or from the error event in the middle of its stream, which
only the exception still holds.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import accumulate, islice
from operator import methodcaller
from typing import TYPE_CHECKING, Any

from .echoes import RequestTexts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ..observed import ObservedExchange
    from ..options import Api

_ERRORS = range(300, 600)
_LONGEST_SENTENCE = 1000
_MOST_PROSE = 4 * _LONGEST_SENTENCE
_LONGEST_EMBEDDED = 2000
_DEEPEST = 6
_MOST_LAYERS = 16
_DIGITS = 3
_BETWEEN = "\0"
_PARAM = methodcaller("get", "param")
_WITHIN = (
    "error",
    "errors",
    "response",
    "base_resp",
    "innererror",
    "inner_error",
    "metadata",
    "message",
    "detail",
    "details",
    "raw",
)
"""Where an error holds another one: gateways wrap what their provider said, some of them as JSON in a text."""
_CODES = (
    "code",
    "type",
    "status",
    "status_code",
    "reason",
    "error_type",
    "error_code",
    "provider_code",
    "__type",
)
_PROSE = (
    "message",
    "error",
    "title",
    "detail",
    "raw",
    "code",
    "status",
    "msg",
    "error_msg",
    "status_msg",
    "error_message",
    "error_description",
)
_TELLING = frozenset({"flagged_input", "content_filter_result", "content_filter_results", "contentfilter"})
"""Keys whose presence alone is a code: OpenRouter's, Azure's and Zhipu's reports of filtered content."""
_QUOTES = frozenset("'\"`“")
_QUOTED = re.compile(r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|`[^`]*`|“[^”]*”")


@dataclass(frozen=True, slots=True)
class FailureEvidence:
    """The facts by which a failure is classified.

    Attributes:
        status: The HTTP status of an error answer, or the number in a stream's error event; None without
            either.
        codes: Every code that the provider named, in lower case: OpenAI's ``code`` and ``type``, Google's
            ``status``, ``reason`` and ``quotaId``, and those of nested errors.
        sentence: The provider's error message, without quotations, because these may be the caller's words.
            It counts less than codes, and is never shown.
        params: The parameters of the request that the error is about, from OpenAI's ``param``.
        raised: The names of all exception classes involved.
        answered: Whether the status and headers of an answer arrived.
        sent: Whether a request was sent.
        retry_delay: Google's ``retryDelay``, such as ``28s``.
    """

    api: Api
    status: int | None = None
    codes: frozenset[str] = frozenset()
    sentence: str = field(default="", repr=False)
    params: frozenset[str] = frozenset()
    raised: frozenset[str] = frozenset()
    answered: bool = False
    sent: bool = True
    retry_delay: str | None = None
    texts: Sequence[str] = field(default=(), repr=False)
    """The messages that the sentence is made of."""
    sent_texts: Callable[[], RequestTexts] = field(
        default=partial(RequestTexts, b""), repr=False, compare=False
    )
    """Reads the texts of the request, which few failures need."""

    def without_request_echoes(self) -> FailureEvidence:
        """Return a copy whose error message lacks the words that repeat texts of the request."""
        own = self.sent_texts().remove_echoes(_BETWEEN.join(_first(self.texts)))
        return replace(self, sentence=_sentence(own.split(_BETWEEN)))


def collect_evidence(
    exception: BaseException,
    observed: ObservedExchange,
    api: Api,
    handled_exception: BaseException | None = None,
) -> FailureEvidence:
    """Collect the evidence of a failed attempt.

    Args:
        exception: The exception that ended the attempt.
        observed: The transport's observations of request and response.
        api: The API that was called.
        handled_exception: The exception that the caller was already handling, which is ignored.
    """
    links, sent_texts = (
        tuple(_chain(exception, handled_exception)),
        cache(partial(RequestTexts, observed.body_sent)),
    )
    layers = _error_layers(observed.error_body, sent_texts) or next(
        filter(None, (_exception_layers(link, sent_texts) for link in links)), []
    )
    texts = [layer[key] for layer in layers for key in _PROSE if isinstance(layer.get(key), str)]
    return FailureEvidence(
        api=api,
        status=observed.status if observed.status in _ERRORS else _first_number(layers),
        codes=frozenset(code.lower() for layer in layers for code in _codes(layer)),
        sentence=_sentence(texts),
        params=frozenset(map(str, map(_PARAM, layers))),
        raised=frozenset(kind.__name__ for link in links for kind in type(link).__mro__),
        answered=observed.status is not None,
        sent=observed.sent_at is not None,
        retry_delay=next(_delays(layers), None),
        texts=texts,
        sent_texts=sent_texts,
    )


def _error_layers(body: bytes, sent_texts: Callable[[], RequestTexts]) -> list[dict[str, Any]]:
    """The layers of an error answer's body, from the outside in."""
    if layers := list(islice(_layers(_document(body), sent_texts), _MOST_LAYERS)):
        return layers
    text = body.decode(errors="replace").strip()
    return [{"message": text}] if text and text[0] not in "{[<" else []


def _exception_layers(
    exception: BaseException, sent_texts: Callable[[], RequestTexts]
) -> list[dict[str, Any]]:
    """The layers of the body that a `ProviderError` holds."""
    held = getattr(exception, "body", None)
    return list(islice(_layers(held, sent_texts), _MOST_LAYERS)) if isinstance(held, dict) else []


def _layers(
    value: object, sent_texts: Callable[[], RequestTexts], depth: int = 0
) -> Iterator[dict[str, Any]]:
    """``value`` and the errors nested in it, from the outside in."""
    if isinstance(value, str):
        found = value if value.lstrip()[:1] in {"{", "["} else _embedded(value)
        value = _object(found, sent_texts) if found else None
    if isinstance(value, list):
        value = next((item for item in value if isinstance(item, dict)), None)
    if not isinstance(value, dict) or depth > _DEEPEST:
        return
    layer = {str(key).lower(): inner for key, inner in value.items()}
    yield layer
    for key in _WITHIN:
        if key in layer:
            yield from _layers(layer[key], sent_texts, depth + 1)


def _document(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _embedded(text: str) -> str:
    """The object, in JSON or as Python's repr, that a gateway added after its own text; empty if it is quoted."""
    start, end = text.find("{"), text.rfind("}") + 1
    if not 0 <= start < end <= _LONGEST_EMBEDDED or set(text[:start].removesuffix("b'")) & _QUOTES:
        return ""
    return text[start:end]


def _object(text: str, sent_texts: Callable[[], RequestTexts]) -> Any:
    """The object that ``text`` is, in JSON or as Python's repr; None if it is none, or repeats the request."""
    if sent_texts().has_text_with_words(text):
        return None
    found = _document(text)
    if found is not None or len(text) > _LONGEST_EMBEDDED:
        return found
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def _codes(layer: Mapping[str, Any]) -> Iterator[str]:
    named = [layer.get(key) for key in _CODES]
    for detail in _dicts_in(layer.get("details"))[:_MOST_LAYERS]:
        named.append(detail.get("reason"))
        named += [
            violation.get("quotaId") for violation in _dicts_in(detail.get("violations"))[:_MOST_LAYERS]
        ]
    yield from (str(code) for code in named if isinstance(code, str | int) and code)
    yield from _TELLING.intersection(layer)


def _first(texts: Iterable[str]) -> list[str]:
    """The first of the ``texts``, each cut, and together not too long."""
    short = [text[:_LONGEST_SENTENCE] for text in texts]
    ends = accumulate(map(len, short))
    return [text for text, end in zip(short, ends, strict=True) if end <= _MOST_PROSE]


def _sentence(texts: Iterable[str]) -> str:
    """All ``texts``, without quotations."""
    prose = " ".join([_unquoted(text[:_LONGEST_SENTENCE]) for text in texts])
    return " ".join(prose[:_LONGEST_SENTENCE].split())


def _unquoted(text: str) -> str:
    """``text`` without its quotations; all of it if it is nothing but a quotation."""
    own = _QUOTED.sub(" ", text)
    return own if any(map(str.isalpha, own)) else text


def _delays(layers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    details = (detail for layer in layers for detail in _dicts_in(layer.get("details")))
    return (detail["retryDelay"] for detail in details if isinstance(detail.get("retryDelay"), str))


def _dicts_in(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _first_number(layers: Sequence[Mapping[str, Any]]) -> int | None:
    """The status in an error event, which may be a number or a text."""
    texts = (str(layer.get(key)) for layer in layers for key in ("code", "status"))
    numbers = (int(text) for text in texts if text.isdecimal() and len(text) == _DIGITS)
    return next((number for number in numbers if number in _ERRORS), None)


def _chain(exception: BaseException | None, outer: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while exception is not None and exception is not outer and id(exception) not in seen:
        seen.add(id(exception))
        yield exception
        exception = exception.__cause__ or (None if exception.__suppress_context__ else exception.__context__)
