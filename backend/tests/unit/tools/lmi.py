"""What becomes of a configuration of LMI's: the table, its endpoints, and what the report says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backend.tools.config_import import import_config
from backend.utils.llm.model_config import parse_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backend.utils.llm.model_config import Endpoint, Provider, TableSnapshot
    from backend.utils.llm.options import Options


FEATURE = "lmi"


def snapshot(config: object) -> TableSnapshot:
    """The table that ``config`` becomes, loaded."""
    made = import_config(config, source="lmi.json", system="lmi")
    assert made.table is not None, "\n".join(map(str, made.findings))
    return parse_table(made.table, environ={})


def told(config: object, kind: str = "") -> list[str]:
    """What the report says about ``config`` in particular."""
    findings = import_config(config, source="lmi.json", system="lmi").findings
    general = {found for found in findings if found.kind == "changed" and not found.path}
    return [str(found) for found in findings if found.kind.startswith(kind) and found not in general]


def wrong(config: object) -> list[str]:
    """What is wrong with ``config``, by path; nothing is written then."""
    made = import_config(config, source="lmi.json", system="lmi")
    assert made.table is None
    return [found.path for found in made.findings if found.kind == "wrong"]


def chain(config: object, feature: str = FEATURE) -> list[str]:
    return [str(endpoint) for endpoint in snapshot(config).chain(feature, "premium")]


def models(*specs: Mapping[str, Any] | str) -> dict[str, Any]:
    return {"models": [{"name": spec} if isinstance(spec, str) else spec for spec in specs]}


def spec(name: str = "openai/gpt-4o", /, **fields: Any) -> dict[str, Any]:
    return {"name": name, **fields}


def entry(name: str, model: str, **params: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": model, **params}}


def only(config: object) -> Endpoint:
    """The one endpoint of a config with one model."""
    (endpoint,) = snapshot(config).chain(FEATURE, "premium")
    return endpoint


def effective(config: object, feature: str = FEATURE) -> list[Options]:
    """What each endpoint of the chain is asked with: the feature's options over its own."""
    table = snapshot(config)
    over = table.features[feature].options
    return [over.with_defaults(endpoint.options) for endpoint in table.chain(feature, "premium")]


def attempts(config: object, feature: str = FEATURE) -> list[int]:
    table = snapshot(config)
    usual = table.features[feature].attempts
    return [endpoint.attempts or usual for endpoint in table.chain(feature, "premium")]


def table_of(config: object) -> str:
    return import_config(config, source="lmi.json", system="lmi").table or ""


def key_variable(provider: Provider) -> str | None:
    return next(iter(provider.api_key_envs), None)
