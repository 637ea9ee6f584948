"""An endpoint that a caller brings, in the form of the table's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..models import UNKNOWN, capabilities
from ..network_policy import reach_of
from .snapshot import OWN, OWN_URL, Endpoint, Provider

if TYPE_CHECKING:
    from ..network_policy import Network

STAND_IN = Endpoint(Provider(OWN, "openai", OWN, OWN_URL), "model", UNKNOWN)
"""What the one client is built for that serves them all. Nothing is sent to it: it has no address."""


def brought(base_url: str, model: str, networks: tuple[Network, ...]) -> Endpoint:
    """The endpoint at a plain ``base_url``, which may be on the public internet or in ``networks``.

    What its model can do is what the catalogue says of one with that name; a stranger is taken to do the usual.
    """
    reach = reach_of(base_url, networks)
    return Endpoint(Provider(OWN, "openai", OWN, base_url, reach=reach), model, capabilities(model))
