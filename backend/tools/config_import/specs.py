"""A configuration, independent of its system: features with their chains of models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backend.tools.config_import.nodes import unless_null

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backend.tools.config_import.nodes import Node
    from backend.tools.config_import.origins import Origin

SPEC_KEYS = ("name", "api_base", "api_key", "timeout", "max_retries", "extra_params", "responses_api")


@dataclass(frozen=True)
class Group:
    """A named group of models, one of which is chosen for each call.

    Attributes:
        select: The name of the strategy that chooses.
    """

    name: str
    select: str


@dataclass(frozen=True)
class Spec:
    """One model of a feature's chain, as the input describes it. A field that is None was absent in the input.

    Attributes:
        place: Its node in the input.
        params: The parameters that it adds to each request, by litellm's names.
        first_chunk: The timeout until the first chunk of a stream.
        kind: The kind of model, if given.
        group: The group that it belongs to.
        weight: Its weight in the group.
        row: Further fields of its endpoint's row: limits, prices.
    """

    place: Node
    params: Mapping[str, Node]
    name: Node | None = None
    api_base: Node | None = None
    api_key: Node | None = None
    timeout: Node | None = None
    max_retries: Node | None = None
    responses_api: Node | None = None
    first_chunk: Node | None = None
    kind: str | None = None
    group: Group | None = None
    weight: int | None = None
    row: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_wrong(self) -> bool:
        """Whether the model itself has errors, apart from errors in values that it shares with other models."""
        nodes = (self.place, self.name, self.api_base, self.api_key, self.timeout, *self.params.values())
        return any(node is not None and node.findings.is_spoilt_part for node in nodes)


@dataclass(frozen=True)
class Config:
    """One feature as the input describes it, with the models that it calls one after the other.

    Attributes:
        needs: The abilities that its calls need of an endpoint: ``structured_output``, ``tools``.
        about: The feature's description.
        refusals_fall_over: Whether a refusal goes to the next model, if the system it comes from has no fixed rule.
    """

    feature: str
    place: Node
    specs: tuple[Spec, ...]
    origin: Origin
    needs: tuple[str, ...] = ()
    about: str = ""
    refusals_fall_over: bool = False


def take_spec(place: Node, entries: dict[str, Node]) -> Spec:
    """Build a `Spec` from the fields of a model that LMI knows, such as ``name`` and ``api_base``.

    Args:
        place: The model's place in the input.
        entries: The model's fields. Those that are read are removed.
    """
    own = {key: entries.pop(key, None) for key in SPEC_KEYS}
    extra = unless_null(own["extra_params"])
    return Spec(
        place,
        extra.entries() if extra else {},
        name=own["name"],
        api_base=own["api_base"],
        api_key=own["api_key"],
        timeout=own["timeout"],
        max_retries=own["max_retries"],
        responses_api=own["responses_api"],
    )
