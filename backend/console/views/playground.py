"""The page "Playground": a chat with a feature, which also shows the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backend.utils.llm.diagnostics.qos import QosInfo


@dataclass(frozen=True, slots=True)
class PlaygroundFeature:
    """A feature to chat with on the page "Playground".

    Attributes:
        name: The name of the feature.
        about: What the feature is for.
        endpoint: The endpoint that serves it with the operator's keys; None if no endpoint can.
    """

    name: str
    about: str
    endpoint: str | None


@dataclass(frozen=True, slots=True)
class PlaygroundView:
    """The data of the page "Playground".

    Attributes:
        features: The features to chat with.
        address: The URL to which the page sends chat requests.
    """

    features: tuple[PlaygroundFeature, ...]
    address: str


def make_playground_view(qos: QosInfo, *, base_url: str) -> PlaygroundView:
    """Make the data of the page "Playground". ``base_url`` is the URL of the service, without a trailing slash."""
    features = (PlaygroundFeature(name, info.about, info.endpoint) for name, info in qos.features.items())
    return PlaygroundView(tuple(features), f"{base_url}/v1/chat/completions")
