"""What rests in this process, as values that may be shown to anybody."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from ..execution.observers.log import endpoint_for_all
from ..failures import POLICY, Category
from ..state.health import RestKind
from ..types import KeyOwner

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..state.health import Health, Resting


class HealthInfo(BaseModel):
    """An endpoint, or a key, that is left alone. Users' keys that rest for the same reason are one.

    Attributes:
        endpoint: ``provider:model``; only the provider if the key rests, whichever model it asks for; ``own`` for what users bring.
        key_owner: Whose key it is, and ``account`` the house's account, if it has a name.
        state: ``open`` is the breaker's, ``cooling`` a cooldown; ``probing`` waits for a probe that is under way, and ``half open``
            for the next call, which is one.
        category: What led to it, as in receipts.
        reason: The same in words.
        since: When it began, in UTC; the earliest of all.
        until: When it may be asked again; the latest of all. None if it is over.
        failures: How many failures in a row its breaker has counted; 0 if a single answer was enough.
        keys: How many keys it concerns.
    """

    model_config = ConfigDict(frozen=True)

    endpoint: str
    key_owner: KeyOwner
    account: str | None
    state: RestKind
    category: Category
    reason: str
    since: datetime
    until: datetime | None
    failures: int
    keys: int = 1


def health_infos(health: Health, now: datetime) -> tuple[HealthInfo, ...]:
    """Everything that rests ``now``, what is the house's first."""
    resting = sorted(health.resting(), key=_kind)
    return tuple(_info(list(alike), now) for _, alike in groupby(resting, key=_kind))


def _kind(one: Resting) -> tuple[str, ...]:
    circuit = one.circuit
    endpoint = endpoint_for_all(circuit.endpoint)
    return circuit.owner, endpoint, circuit.account or "", one.kind, one.category.value


def _info(alike: list[Resting], now: datetime) -> HealthInfo:
    first = alike[0]
    return HealthInfo(
        endpoint=endpoint_for_all(first.circuit.endpoint),
        key_owner=first.circuit.owner,
        account=first.circuit.account,
        state=first.kind,
        category=first.category,
        reason=POLICY[first.category].sentence,
        since=now - timedelta(seconds=max(one.since for one in alike)),
        until=_until(alike, now),
        failures=max(one.failures for one in alike),
        keys=len(alike),
    )


def _until(alike: Iterable[Resting], now: datetime) -> datetime | None:
    seconds = max(one.seconds for one in alike)
    return now + timedelta(seconds=seconds) if seconds > 0 else None
