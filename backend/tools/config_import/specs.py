"""An imported configuration in a form that all systems share: features with their chains of models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backend.tools.config_import.nodes import none_if_null

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backend.tools.config_import.nodes import ConfigNode
    from backend.tools.config_import.origins import SourceSystem

SPEC_KEYS = ("name", "api_base", "api_key", "timeout", "max_retries", "extra_params", "responses_api")


@dataclass(frozen=True)
class ModelGroup:
    """A named group of models, of which a strategy chooses one for each call.

    Attributes:
        select: The name of the strategy.
    """

    name: str
    select: str


@dataclass(frozen=True)
class ModelSpec:
    """A model of a feature's chain as the input describes it. A field is None if the input does not have it.

    Attributes:
        place: The model's entry in the input.
        params: The parameters of each request to the model, by litellm's names.
        first_chunk: The timeout until the first chunk of a stream.
        kind: The kind of model, such as ``embedding``.
        group: The group that the model belongs to.
        weight: How often the model is chosen, relative to others in its group.
        row: Further fields for the endpoint's row in the table, such as limits and prices.
    """

    place: ConfigNode
    params: Mapping[str, ConfigNode]
    name: ConfigNode | None = None
    api_base: ConfigNode | None = None
    api_key: ConfigNode | None = None
    timeout: ConfigNode | None = None
    max_retries: ConfigNode | None = None
    responses_api: ConfigNode | None = None
    first_chunk: ConfigNode | None = None
    kind: str | None = None
    group: ModelGroup | None = None
    weight: int | None = None
    row: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_errors(self) -> bool:
        """Whether the model's own entry has errors. Errors in values that it shares with other models do not count."""
        nodes = (self.place, self.name, self.api_base, self.api_key, self.timeout, *self.params.values())
        return any(node is not None and node.findings.is_subreport_with_errors for node in nodes)


@dataclass(frozen=True)
class ImportedFeature:
    """A feature as the input describes it, with the models that are called one after the other until one succeeds.

    Attributes:
        place: The feature's entry in the input.
        specs: The models, in the order of calling.
        origin: The system that the input comes from.
        needs: The capabilities that its calls need: ``structured_output``, ``tools``.
        about: The feature's description.
        refusals_fall_over: Whether the next model is called after a refusal. Not needed if the system
            does so by default.
    """

    feature: str
    place: ConfigNode
    specs: tuple[ModelSpec, ...]
    origin: SourceSystem
    needs: tuple[str, ...] = ()
    about: str = ""
    refusals_fall_over: bool = False


def pop_model_spec(model_node: ConfigNode, model_fields: dict[str, ConfigNode]) -> ModelSpec:
    """Read a model from fields such as ``name`` and ``api_base``, and remove these from ``model_fields``.

    Args:
        model_node: The model's entry in the input.
        model_fields: The fields of the entry. Afterwards, only those that were not read remain.
    """
    own = {key: model_fields.pop(key, None) for key in SPEC_KEYS}
    extra = none_if_null(own["extra_params"])
    return ModelSpec(
        model_node,
        extra.read_entries() if extra else {},
        name=own["name"],
        api_base=own["api_base"],
        api_key=own["api_key"],
        timeout=own["timeout"],
        max_retries=own["max_retries"],
        responses_api=own["responses_api"],
    )
