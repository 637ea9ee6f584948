"""The server through which processes share limits and the state of endpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

from ..packages import FOR_STATE_SERVER, find_missing_packages, install_advice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..problems import TableProblems

STATE_URL = "LLM_STATE_URL"
STATE_SECRET = "LLM_STATE_SECRET"  # noqa: S105 - the variable's name
SCHEMES = ("redis", "rediss", "unix", "valkey", "valkeys")
_RULE = "must be the address of a Valkey or Redis server, such as redis://state.example:6379/0"


@dataclass(frozen=True)
class StateServer:
    """The Valkey or Redis server through which processes share limits and the health of endpoints.

    Attributes:
        url: Its URL, which may contain a password.
        secret: 32 bytes, the same in every process: the hash key for names of keys, users and conversations.
    """

    url: SecretStr
    secret: bytes = field(repr=False)


def read_state_server(
    state_url_in_table: str | None, environ: Mapping[str, str], layer: str, problems: TableProblems
) -> StateServer | None:
    """Read the state server from ``LLM_STATE_URL``, or else the table's ``state_url``; None if neither is set.

    Args:
        state_url_in_table: The value of ``state_url`` in the table.
        environ: The environment.
        layer: The name of the table's layer in problems.
        problems: Collects the findings.
    """
    environment_url = environ.get(STATE_URL, "").strip()
    url, place, where = (
        (environment_url, STATE_URL, "environment")
        if environment_url
        else (state_url_in_table or "", "state_url", layer)
    )
    if not url:
        return None
    if (fault := _fault(url)) is not None:
        problems.add(place, fault, layer=where)
    elif not environment_url and urlsplit(url).password:
        problems.add(place, "holds a password", layer=where, fix=f"Put the address into {STATE_URL}.")
    elif packages := find_missing_packages(FOR_STATE_SERVER):
        problems.add(
            place, "needs a package that is not installed", layer=where, fix=install_advice(packages)
        )
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
