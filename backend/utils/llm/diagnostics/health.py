"""The circuits of this process that get no requests now, as values without secrets."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from ..execution.observers.log import public_endpoint_name
from ..failures import POLICY, FailureCategory
from ..state.health import RestKind
from ..types import KeyOwner

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..state.health import HealthTracker, UnhealthyCircuit


class HealthInfo(BaseModel):
    """An endpoint or a key that gets no requests now, because of failures.

    Users' keys with the same endpoint, state and category are combined into one entry.

    Attributes:
        endpoint: ``provider:model``; only the provider if the key is blocked for every model; ``own`` for
            endpoints that users bring.
        key_owner: Whose key it is.
        account: The operator's named account that the key belongs to; None if it has no name, or for users'
            keys.
        state: ``open``: the breaker is open. ``cooling``: in cooldown. ``probing``: a probe is in flight.
            ``half open``: the next call is the probe.
        category: The kind of failure that caused this, as in receipts.
        reason: The kind of failure, in words.
        since: When this began, in UTC; the earliest time of all combined keys.
        until: When the next request may be sent; the latest time of all combined keys. None if that time has
            passed.
        failures: The failures in a row that the circuit breaker counted; 0 if a single response was enough.
        keys: The number of keys that are combined.
    """

    model_config = ConfigDict(frozen=True)

    endpoint: str
    key_owner: KeyOwner
    account: str | None
    state: RestKind
    category: FailureCategory
    reason: str
    since: datetime
    until: datetime | None
    failures: int
    keys: int = 1


def make_health_infos(health: HealthTracker, now: datetime) -> tuple[HealthInfo, ...]:
    """Describe every endpoint and key that gets no requests at ``now`` because of failures, the operator's first."""
    resting = sorted(health.list_unhealthy_circuits(), key=_kind)
    return tuple(_info(list(alike), now) for _, alike in groupby(resting, key=_kind))


def _kind(one: UnhealthyCircuit) -> tuple[str, ...]:
    circuit = one.circuit
    endpoint = public_endpoint_name(circuit.endpoint)
    return circuit.owner, endpoint, circuit.account or "", one.kind, one.category.value


def _info(alike: list[UnhealthyCircuit], now: datetime) -> HealthInfo:
    first = alike[0]
    return HealthInfo(
        endpoint=public_endpoint_name(first.circuit.endpoint),
        key_owner=first.circuit.owner,
        account=first.circuit.account,
        state=first.kind,
        category=first.category,
        reason=POLICY[first.category].sentence,
        since=now - timedelta(seconds=max(circuit.since for circuit in alike)),
        until=_until(alike, now),
        failures=max(circuit.failures for circuit in alike),
        keys=len(alike),
    )


def _until(alike: Iterable[UnhealthyCircuit], now: datetime) -> datetime | None:
    seconds = max(circuit.seconds for circuit in alike)
    return now + timedelta(seconds=seconds) if seconds > 0 else None
