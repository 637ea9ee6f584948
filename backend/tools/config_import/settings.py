"""Translates the settings of a model into options of the table, its number of attempts, and its API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from backend.tools.config_import.advice import INSTEAD, MISPLACED, NAMES, OF_LITELLM
from backend.tools.config_import.nodes import none_if_null
from backend.utils.llm.model_config.schema import FeatureRow
from backend.utils.llm.models import find_capabilities
from backend.utils.llm.options import Options, SafetyThresholds, Threshold, find_api_parameter
from backend.utils.llm.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from backend.tools.config_import.accounts import ProviderAccount
    from backend.tools.config_import.nodes import ConfigNode
    from backend.tools.config_import.origins import SourceSystem
    from backend.tools.config_import.specs import ModelSpec
    from backend.utils.llm.options import Api, ApiMode

_TOML_BITS = 64

Wants = dict[str, Any]
"""Options by their names, including ``attempts`` and ``api_mode``."""
CLOCKS = frozenset({"timeout", "first_chunk_timeout"})
"""The options that embedding requests have, too."""


def translate_settings(spec: ModelSpec, account: ProviderAccount, model: str, origin: SourceSystem) -> Wants:
    """Translate the settings of an imported model into options of the table.

    Options that the model does not support are left out and reported.

    Args:
        spec: The model's entry in the input.
        account: The account with which the model is called.
        model: The model's name at the provider.
        origin: The system that the input comes from. Its defaults apply.

    Returns:
        The options by name, ``api_mode``, and the number of ``attempts`` if it is known.
    """
    mode = _api_mode(none_if_null(spec.responses_api), account)
    options, origins = _options(spec.params)
    for option, reason in _refused(options, account.api, mode, model).items():
        origins[option].report_finding("dropped", f"{reason}.")
        del options[option]
    if "effort" in options:
        _tell_effort(origins["effort"], options["effort"], model)
    retries = none_if_null(spec.max_retries)
    attempts = (_attempts(retries) if retries else None) or origin.attempts
    return {
        **options,
        **_clocks(spec, origin.timeout),
        **({"attempts": attempts} if attempts else {}),
        "api_mode": mode,
    }


def _refused(options: Wants, api: Api, mode: ApiMode, model: str) -> dict[str, str]:
    """The options that would be refused by the table or ignored, each with the reason."""
    mute = [option for option in options if find_api_parameter(option).name_in_api(api, mode) is None]
    beyond = Options(**options).list_unsupported_options(api, model, find_capabilities(model), mode)
    return dict.fromkeys(mute, f"the {api} API has no such option") | dict(beyond)


# Options ----------------------------------------------------------------------------------------------------------


def _options(params: Mapping[str, ConfigNode]) -> tuple[Wants, dict[str, ConfigNode]]:
    """The options that ``params`` set, each with its place."""
    options: Wants = {}
    origins: dict[str, ConfigNode] = {}
    for name, node in params.items():
        for option, value in (_translated(name, node) if none_if_null(node) else {}).items():
            if options.setdefault(option, value) != value:
                node.report_finding("wrong", f"says another {option} than {origins[option].path}. Keep one.")
            origins.setdefault(option, node)
    return options, origins


def _translated(name: str, node: ConfigNode) -> Wants:
    """The options that one parameter sets; none, and a finding, if it is not imported."""
    option = NAMES.get(name, "")
    if name in _NESTED:
        return _NESTED[name](node)
    if option in Options.model_fields:
        return _checked(option, node)
    if name in MISPLACED:
        node.report_finding("wrong", MISPLACED[name])
    else:
        unknown = f"is no option here. {did_you_mean(name, NAMES)}".rstrip()
        node.report_finding("dropped", INSTEAD.get(name) or OF_LITELLM.get(name) or unknown)
    return {}


def _checked(option: str, node: ConfigNode) -> Wants:
    """The option, if its value is valid."""
    if isinstance(node.value, int) and node.value.bit_length() >= _TOML_BITS:
        node.report_finding("wrong", "is larger than any number that TOML holds.")
        return {}
    try:
        fitted = Options.model_validate({option: node.value}, strict=True)
    except ValidationError as error:
        message = str(error.errors(include_url=False)[0]["msg"])
        node.report_finding("wrong", f"is no {option}: {message[:1].lower()}{message[1:]}.")
        return {}
    return {option: getattr(fitted, option)}


def _thinking(node: ConfigNode) -> Wants:
    """The option for Anthropic's ``thinking``, which litellm translates for Gemini."""
    entries = node.read_entries()
    kind = none_if_null(entries.pop("type", None))
    off = kind is not None and kind.value == "disabled"
    budget = None if off else none_if_null(entries.pop("budget_tokens", None))
    _drop(entries)
    if budget is None and not off:
        node.report_finding("dropped", "says no budget_tokens.")
    return {"thinking_budget": 0} if off else _checked("thinking_budget", budget) if budget else {}


def _effort(node: ConfigNode) -> Wants:
    """The effort in a text, or in a mapping."""
    if not node.is_mapping:
        return _checked("effort", node)
    entries = node.read_entries()
    level = none_if_null(entries.pop("effort", None))
    _drop(entries)
    return _checked("effort", level) if level else {}


def _safety(node: ConfigNode) -> Wants:
    """Gemini's safety settings that differ from the default."""
    thresholds = [_threshold(element) for element in node.read_elements()]
    levels = {kind: threshold for pair in thresholds for kind, threshold in pair.items()}
    safety = SafetyThresholds(**levels).model_dump()
    return {"safety": safety} if safety != SafetyThresholds().model_dump() else {}


def _threshold(node: ConfigNode) -> dict[str, Any]:
    entries = node.read_entries()
    category, threshold = (none_if_null(entries.pop(key, None)) for key in ("category", "threshold"))
    _drop(entries)
    kind = _word(category).removeprefix("harm_category_")
    if kind not in SafetyThresholds.model_fields:
        node.report_finding(
            "dropped", f"is no kind of harm that is set here: {', '.join(SafetyThresholds.model_fields)} are."
        )
        return {}
    level = _word(threshold).removeprefix("block_")
    if level not in get_args(Threshold):
        node.report_finding("wrong", f"has no threshold that there is: {', '.join(get_args(Threshold))} are.")
        return {}
    return {kind: level}


def _word(node: ConfigNode | None) -> str:
    return ((node.read_text() or "") if node else "").lower()


def _tell_effort(node: ConfigNode, effort: Any, model: str) -> None:
    nearest = find_capabilities(model).nearest_effort(effort)
    if nearest is None:
        node.report_finding(
            "changed", f"is kept, and left out of requests to {model}, which has no such control."
        )
    elif nearest != effort:
        node.report_finding("changed", f"is sent as {nearest}, the nearest level that {model} offers.")


def _drop(entries: Mapping[str, ConfigNode]) -> None:
    for node in entries.values():
        node.report_finding("dropped", "is no option here.")


_NESTED = {
    "reasoning": _effort,
    "reasoning_effort": _effort,
    "safety_settings": _safety,
    "thinking": _thinking,
}


# Limits -----------------------------------------------------------------------------------------------------------


def _clocks(spec: ModelSpec, usual: float | None) -> Wants:
    timeout = usual if spec.timeout is None else _timeout(spec.timeout, usual)
    first = None if spec.first_chunk is None else _checked("first_chunk_timeout", spec.first_chunk)
    longest: float = Options.model_fields["first_chunk_timeout"].default
    if first is None and timeout is not None and timeout > longest:
        first = {"first_chunk_timeout": timeout}
    return ({} if timeout is None else {"timeout": timeout}) | (first or {})


def _timeout(node: ConfigNode, usual: float | None) -> float | None:
    longest = find_field_maximum(Options, "timeout")
    if node.value is None:
        node.report_finding("changed", f"no timeout becomes the longest, {longest:g} seconds.")
        return longest
    if isinstance(node.value, int | float) and node.value > longest:
        node.report_finding("changed", f"becomes the longest, {longest:g} seconds.")
        return longest
    fitted = _checked("timeout", node).get("timeout")
    return usual if fitted is None else float(fitted)


def _attempts(node: ConfigNode) -> int | None:
    """The attempts with so many retries; None if that is no number of them."""
    most = int(find_field_maximum(FeatureRow, "attempts"))
    retries = node.value
    if type(retries) is not int or retries < 0:
        node.report_finding("wrong", "must be a whole number from 0.")
        return None
    if retries >= most:
        node.report_finding("changed", f"becomes the most, {most} attempts.")
    return min(retries + 1, most)


def _api_mode(node: ConfigNode | None, account: ProviderAccount) -> ApiMode:
    if node is None or node.value is False:
        return "chat"
    if node.value is not True:
        node.report_finding("wrong", "must be true or false.")
    elif account.api != "openai":
        node.report_finding("dropped", f"{account.provider} has no Responses API.")
    else:
        return "responses"
    return "chat"


def find_field_maximum(row: type[BaseModel], field: str) -> float:
    """Get the upper limit that the table's schema sets for ``field`` of the row type ``row``."""
    bounds = (getattr(mark, "le", None) for mark in row.model_fields[field].metadata)
    return float(next(bound for bound in bounds if bound is not None))
