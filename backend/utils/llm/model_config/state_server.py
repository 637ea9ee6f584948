"""Where processes share their limits and what they have learnt."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

from ..packages import FOR_STATE_SERVER, missing_of, way_out

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..problems import Problems

STATE_URL = "LLM_STATE_URL"
STATE_SECRET = "LLM_STATE_SECRET"  # noqa: S105 - the variable's name
SCHEMES = ("redis", "rediss", "unix", "valkey", "valkeys")
_RULE = "must be the address of a Valkey or Redis server, such as redis://state.example:6379/0"


@dataclass(frozen=True)
class StateServer:
    """A Valkey or Redis server.

    Attributes:
        url: Where it is; it may hold a password.
        secret: What keys, users and conversations are hashed with to be named there: 32 bytes, the same in every process.
    """

    url: SecretStr
    secret: bytes = field(repr=False)


def state_server(
    written: str | None, environ: Mapping[str, str], layer: str, problems: Problems
) -> StateServer | None:
    """The server that ``LLM_STATE_URL`` names, or else the table; None if neither does.

    Args:
        written: The table's ``state_url``.
        environ: The environment.
        layer: Where the table comes from.
        problems: Takes what is wrong.
    """
    told = environ.get(STATE_URL, "").strip()
    url, place, where = (told, STATE_URL, "environment") if told else (written or "", "state_url", layer)
    if not url:
        return None
    if (fault := _fault(url)) is not None:
        problems.add(place, fault, layer=where)
    elif not told and urlsplit(url).password:
        problems.add(place, "holds a password", layer=where, fix=f"Put the address into {STATE_URL}.")
    elif packages := missing_of(FOR_STATE_SERVER):
        problems.add(place, "needs a package that is not installed", layer=where, fix=way_out(packages))
    keyed = environ.get(STATE_SECRET, "").strip() or url
    return StateServer(
        SecretStr(url), blake2b(keyed.encode(), digest_size=32, person=b"patchbay state").digest()
    )


def _fault(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in SCHEMES and bool(parts.path if parts.scheme == "unix" else parts.hostname)
        _ = parts.port
    except ValueError:
        is_one = False
    return None if is_one else _RULE
