"""The circuits of this process that get no requests now, as values without secrets."""

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
    """An endpoint or a key that gets no requests now, because of failures.

    Users' keys that get none for the same reason share an entry.

    Attributes:
        endpoint: ``provider:model``; only the provider if the key rests, whatever the model; ``own`` for users' own endpoints.
        key_owner: Whose key it is; ``account`` names the operator's account, if the account has a name.
        state: ``open``: the breaker is open. ``cooling``: a cooldown runs. ``probing``: a probe is in flight. ``half open``:
            the next call is the probe.
        category: The kind of failure that led to it, as in receipts.
        reason: The kind of failure, in words.
        since: When it began, in UTC; the earliest of all keys.
        until: When the next request may be sent; the latest of all keys. None if that time has passed.
        failures: The failures in a row that the circuit breaker counted; 0 if a single response was enough.
        keys: The number of keys concerned.
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
    """Every endpoint and key that gets no requests at ``now`` because of failures: the operator's first, then users'."""
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
