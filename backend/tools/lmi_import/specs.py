"""LMI's configuration, whichever shape it came in: features, each with its models in the order of the chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.tools.lmi_import.nodes import given

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backend.tools.lmi_import.nodes import Node

SPEC_KEYS = ("name", "api_base", "api_key", "timeout", "max_retries", "extra_params", "responses_api")


@dataclass(frozen=True)
class Spec:
    """One model of a chain. What is None here was absent.

    Attributes:
        place: Where it stands.
        params: What it adds to each request, by litellm's names.
    """

    place: Node
    params: Mapping[str, Node]
    name: Node | None = None
    api_base: Node | None = None
    api_key: Node | None = None
    timeout: Node | None = None
    max_retries: Node | None = None
    responses_api: Node | None = None


@dataclass(frozen=True)
class Config:
    """One feature and its chain."""

    feature: str
    place: Node
    specs: tuple[Spec, ...]


def take_spec(place: Node, entries: dict[str, Node]) -> Spec:
    """The spec of those ``entries`` that LMI keeps apart; they are taken out."""
    own = {key: entries.pop(key, None) for key in SPEC_KEYS}
    extra = given(own.pop("extra_params"))
    return Spec(place, extra.entries() if extra else {}, **own)
