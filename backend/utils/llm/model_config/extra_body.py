"""Extra fields of request bodies from the table: a vendor's own parameters that no option covers.

They never replace fields that the facade sets. A table is refused if they contain keys, or fields that only the facade may
set.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator

from ..options import Options, find_api_parameter
from ..problems import make_rule_error
from ..secrets import contains_likely_api_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_OPTIONS: Final = {
    name: option
    for option in Options.model_fields
    for name in (find_api_parameter(option).openai, find_api_parameter(option).gemini)
    if name is not None
}
_OWNED: Final = frozenset(
    {
        *(
            "background",
            "cached_content",
            "contents",
            "conversation",
            "function_call",
            "functions",
            "generation_config",
        ),
        *(
            "include",
            "input",
            "instructions",
            "max_completion_tokens",
            "max_output_tokens",
            "max_tokens",
            "messages",
        ),
        *(
            "model",
            "models",
            "n",
            "output_config",
            "output_format",
            "parallel_tool_calls",
            "previous_response_id",
        ),
        *("prompt", "prompt_cache_key", "random_seed", "response_format", "route", "safety_settings", "stop"),
        *(
            "stop_sequences",
            "store",
            "stream",
            "stream_options",
            "system",
            "system_instruction",
            "text",
            "thinking",
        ),
        *("tool_choice", "tool_config", "tools"),
    }
)
"""What every API's requests hold of ours, or what would make another request of them."""
_OWNED_SETTINGS: Final = _OWNED | {
    *("candidate_count", "response_json_schema", "response_mime_type", "response_schema", "thinking_config"),
}
"""The same of Gemini's ``generationConfig``."""
_SETTINGS: Final = "generation_config"
_IDENTITY: Final = re.compile(
    r"(^|_)(authorization|bearer|cookie|credentials?|key|keys|passwd|password|secret|token)$"
)
_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")
_NO_KEYS: Final = "Requests are signed with keys, which stand in variables only."
_ONE_ANSWER: Final = "A call has one answer: call again, or use batch, for another."


def _harmless(extra: dict[str, Any]) -> dict[str, Any]:
    for path, fault, fix in (*_owned(extra), *_unfit(extra, ())):
        raise make_rule_error(f"{'.'.join(path)} {fault}", fix)
    return extra


ExtraBody = Annotated[dict[str, Any], AfterValidator(_harmless)]

Fault = tuple[tuple[str, ...], str, str]
"""The path, the problem and its fix."""


def _owned(extra: Mapping[str, Any]) -> Iterator[Fault]:
    """The fields in ``extra`` that only the facade may set."""
    for key, value in extra.items():
        name = _snake(key)
        if name == _SETTINGS and isinstance(value, dict):
            yield from _owned_of(value, (key,), _OWNED_SETTINGS)
        elif fault := _owned_key(name, _OWNED):
            yield (key,), *fault


def _owned_of(extra: Mapping[str, Any], place: tuple[str, ...], owned: Iterable[str]) -> Iterator[Fault]:
    for key in extra:
        if fault := _owned_key(_snake(key), owned):
            yield (*place, key), *fault


def _owned_key(name: str, owned: Iterable[str]) -> tuple[str, str] | None:
    if name in _OPTIONS:
        return "is an option", f"Write options = {{ {_OPTIONS[name]} = … }}."
    if name in owned:
        return "is not for a table to set", _ONE_ANSWER if name in {"n", "candidate_count"} else ""
    return None


def _unfit(value: Any, place: tuple[str, ...]) -> Iterator[Fault]:
    """The values that look like keys, or are no JSON."""
    if isinstance(value, dict):
        for key, part in value.items():
            if _IDENTITY.search(_snake(key)):
                yield (*place, key), "would carry a key", _NO_KEYS
            yield from _unfit(part, (*place, key))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _unfit(part, (*place, str(number)))
    elif fault := _unfit_value(value):
        yield place, *fault


def _unfit_value(value: Any) -> tuple[str, str] | None:
    if isinstance(value, str):
        return ("looks like a key", _NO_KEYS) if contains_likely_api_key(value) else None
    return None if isinstance(value, int | float) and math.isfinite(value) else ("is no JSON value", "")


def _snake(key: str) -> str:
    """``generationConfig`` and ``Generation-Config`` as ``generation_config``."""
    return _WORD.sub("_", key).lower().strip("_")
