"""Playground: a feature to talk to, and what would be sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backend.utils.llm.diagnostics.qos import QosInfo


@dataclass(frozen=True, slots=True)
class PlaygroundFeature:
    """A feature, and what it runs on for the house."""

    name: str
    about: str
    endpoint: str | None


@dataclass(frozen=True, slots=True)
class PlaygroundView:
    """The features that one may talk to."""

    features: tuple[PlaygroundFeature, ...]
    address: str


def playground_view(qos: QosInfo, *, base_url: str) -> PlaygroundView:
    """Those of the table in force."""
    features = (PlaygroundFeature(name, info.about, info.endpoint) for name, info in qos.features.items())
    return PlaygroundView(tuple(features), f"{base_url}/v1/chat/completions")
