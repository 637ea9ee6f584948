"""One entry of LiteLLM's ``model_list``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from backend.tools.config_import.advice import advice_for_litellm_setting
from backend.tools.config_import.findings import quote_for_report
from backend.tools.config_import.kinds import kind_from_litellm_mode, kind_from_model_name
from backend.tools.config_import.nodes import ConfigNode, none_if_null
from backend.tools.config_import.specs import ModelSpec
from backend.utils.llm.models import find_capabilities, is_known_model

if TYPE_CHECKING:
    from collections.abc import Mapping

_MILLION = 1_000_000
_LARGEST = 1e12
_OWN = (
    "api_base",
    "api_key",
    "api_version",
    "base_url",
    "max_retries",
    "num_retries",
    "stream_timeout",
    "timeout",
)
_ENTRA = ("azure_ad_token", "azure_ad_token_provider", "client_id", "client_secret", "tenant_id")
_SIZES = {"max_input_tokens": "max_input", "max_output_tokens": "max_output"}
_ABILITIES = {
    "supports_audio_input": "audio",
    "supports_function_calling": "tools",
    "supports_pdf_input": "pdf",
    "supports_response_schema": "structured_output",
    "supports_vision": "images",
}
"""What model_info says a model can do, by the names of its row."""
_OF_DEPLOYMENT = ("context_window", "max_output", "images", "temperature", "efforts")
"""What a row of an Azure deployment says, where only its name would be known."""


@dataclass(frozen=True)
class ProxyDeployment:
    """An entry of ``model_list`` in LiteLLM's proxy configuration: one of the models behind a ``model_name``.

    Attributes:
        name: The ``model_name``.
        place: The entry in the input.
        order: The priority; entries with lower numbers are called first.
        weight: How often the entry is chosen, relative to others of the same ``model_name``; None if not given.
        rate: The entry's rate limit, which LiteLLM uses if there is no ``weight``; None if not given.
    """

    name: str
    place: ConfigNode
    spec: ModelSpec
    order: float = 0
    weight: float | None = None
    rate: float | None = None

    @property
    def is_embedding(self) -> bool:
        """Whether the entry is for an embedding model."""
        model = str(self.spec.name.value) if self.spec.name else ""
        return (self.spec.kind or kind_from_model_name(model)) == "embedding"


def read_deployment(
    node: ConfigNode, credentials: Mapping[str, dict[str, ConfigNode]]
) -> ProxyDeployment | None:
    """Read an entry of LiteLLM's ``model_list``.

    None, with an error in the report, if it has no model name or no parameters.

    Args:
        node: The entry.
        credentials: The parameters of each named credential in the configuration.
    """
    entries = node.read_entries()
    name = none_if_null(entries.pop("model_name", None))
    params = none_if_null(entries.pop("litellm_params", None))
    info = none_if_null(entries.pop("model_info", None))
    for key, other in entries.items():
        other.report_finding("dropped", advice_for_litellm_setting(key))
    for key, there in (("model_name", name), ("litellm_params", params)):
        if there is None and node.is_mapping:
            node.report_finding("wrong", f"has no {key}.")
    text = name.read_text() if name else None
    if name is not None and text == "":
        name.report_finding("wrong", "is empty.")
    if not text or params is None:
        return None
    if "*" in text:
        node.report_finding(
            "wrong",
            f"{quote_for_report(text)} stands for many models, and a table names each. Write an entry for each that is used.",
        )
    return _read(text, node, params.read_entries(), info, credentials)


def _read(
    name: str,
    place: ConfigNode,
    entries: dict[str, ConfigNode],
    info: ConfigNode | None,
    credentials: Mapping[str, dict[str, ConfigNode]],
) -> ProxyDeployment:
    _lay_credential(entries, credentials)
    _refuse_tokens(entries)
    rpm, tpm, at_once, order, weight = (
        _number(entries.pop(key, None)) for key in ("rpm", "tpm", "max_parallel_requests", "order", "weight")
    )
    mode, row = _info(info)
    row = _limits(rpm, tpm, at_once) | _of_deployment(info, entries) | row
    spec = _spec(place, entries, mode == "responses")
    kind = kind_from_litellm_mode(mode) if mode else None
    if mode and kind is None:
        (info or place).report_finding("wrong", f"has a mode that is not known: {quote_for_report(mode)}.")
    return ProxyDeployment(name, place, replace(spec, kind=kind, row=row), order or 0, weight, rpm or tpm)


def _spec(place: ConfigNode, entries: dict[str, ConfigNode], is_responses: bool) -> ModelSpec:  # noqa: FBT001 - read, and handed on
    own = {key: none_if_null(entries.pop(key, None)) for key in _OWN}
    model, names_responses = _model(entries)
    if own["api_version"] is not None:
        own["api_version"].report_finding("dropped", "is not needed: Azure's v1 API has none.")
    asks = ConfigNode(value=True, path=place.path, findings=place.findings)
    return ModelSpec(
        place,
        entries,
        name=model,
        api_base=own["api_base"] or own["base_url"],
        api_key=own["api_key"],
        timeout=own["timeout"],
        max_retries=own["max_retries"] or own["num_retries"],
        first_chunk=own["stream_timeout"],
        responses_api=asks if is_responses or names_responses else None,
    )


def _refuse_tokens(entries: dict[str, ConfigNode]) -> None:
    for key in [key for key in _ENTRA if none_if_null(entries.get(key)) is not None]:
        entries.pop(key).report_finding(
            "wrong", "gets a token of Entra's, which ends within the hour. Give an api_key of the resource."
        )


def _lay_credential(entries: dict[str, ConfigNode], credentials: Mapping[str, dict[str, ConfigNode]]) -> None:
    """Add the values of the credential that the entry names, where it has no own value."""
    named = none_if_null(entries.pop("litellm_credential_name", None))
    text = named.read_text() if named else None
    if named is None or text is None:
        return
    if text not in credentials:
        named.report_finding("wrong", f"there is no credential {quote_for_report(text)} in credential_list.")
    for key, node in credentials.get(text, {}).items():
        entries.setdefault(key, node)


def _model(entries: dict[str, ConfigNode]) -> tuple[ConfigNode | None, bool]:
    """The model with its provider, and whether its name asks for the Responses API."""
    node, provider = (
        none_if_null(entries.pop("model", None)),
        none_if_null(entries.pop("custom_llm_provider", None)),
    )
    text = node.read_text() if node else None
    if node is None or text is None:
        return node, False
    if provider is not None and not text.startswith(f"{provider.value}/"):
        text = f"{provider.value}/{text}"
    start, slash, rest = text.partition("/responses/")
    return ConfigNode(f"{start}/{rest}" if slash else text, node.path, node.findings), bool(slash)


def _limits(rpm: float | None, tpm: float | None, at_once: float | None) -> dict[str, Any]:
    limits = {
        "requests": rpm and f"{round(rpm)}/minute",
        "tokens": tpm and f"{round(tpm)}/minute",
        "concurrency": at_once and round(at_once),
    }
    known_limits = {key: value for key, value in limits.items() if value}
    return {"limits": known_limits} if known_limits else {}


def _number(node: ConfigNode | None) -> float | None:
    if node is None or node.value is None:
        return None
    if (
        isinstance(node.value, bool)
        or not isinstance(node.value, int | float)
        or not 0 <= node.value < _LARGEST
    ):
        node.report_finding("wrong", "must be a number from 0.")
        return None
    return float(node.value)


# What is said of the model ----------------------------------------------------------------------------------------


def _info(info: ConfigNode | None) -> tuple[str | None, dict[str, Any]]:
    """The model's mode, and the fields of its row."""
    entries = info.read_entries() if info else {}
    mode = none_if_null(entries.pop("mode", None))
    prices = [none_if_null(entries.pop(f"{side}_cost_per_token", None)) for side in ("input", "output")]
    row: dict[str, Any] = {}
    for key, name in (_SIZES | _ABILITIES).items():
        node = none_if_null(entries.pop(key, None))
        if node is not None and _fits(node.value, bool if key in _ABILITIES else int):
            row[name] = node.value
    if all(price is not None for price in prices):
        row["price"] = dict(zip(("input", "output"), map(_per_million, prices), strict=True))
    elif half := next(filter(None, prices), None):
        half.report_finding("dropped", "is half a price: a row has both, `input` and `output`.")
    for key, node in entries.items():
        node.report_finding("dropped", advice_for_litellm_setting(key))
    return (mode.read_text() if mode else None), row


def _fits(value: object, kind: type) -> bool:
    return type(value) is kind and (kind is bool or (isinstance(value, int) and value > 0))


def _of_deployment(info: ConfigNode | None, entries: Mapping[str, ConfigNode]) -> dict[str, Any]:
    base = none_if_null((info.read_entries() if info and info.is_mapping else {}).get("base_model"))
    model = none_if_null(entries.get("model"))
    text = base.read_text() if base else None
    return azure_deployment_fields(text) if text and model and str(model.value).startswith("azure") else {}


def azure_deployment_fields(base_model: str) -> dict[str, Any]:
    """Get the fields of the table's row for an Azure deployment of ``base_model``: its price and capabilities.

    The deployment's name does not reveal its model. Empty if the model is unknown.
    """
    name = base_model.removeprefix("azure/")
    if not is_known_model(name):
        return {}
    can = find_capabilities(name).model_dump(mode="json")
    return {"priced_as": f"azure:{name}", **{key: can[key] for key in _OF_DEPLOYMENT}}


def _per_million(price: ConfigNode | None) -> float:
    if price is None or isinstance(price.value, bool) or not isinstance(price.value, int | float):
        if price is not None:
            price.report_finding("wrong", "must be a number of dollars.")
        return 0.0
    return float(f"{price.value * _MILLION:.6g}")
