"""Writes a record of each attempt into the ledger."""

from __future__ import annotations

import logging
import sys
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from typing_extensions import override

from ...budgets import to_pico_usd
from ...interruptions import is_external_interruption
from ...ledger.record import AttemptRecord
from ...model_config import OWN
from ...pricing import describe_price_source, price_list_version
from ...secrets import StoredSecret, compute_fingerprint
from .base import AttemptObserver

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from pydantic import SecretStr

    from ...failures import ClassifiedFailure
    from ...ledger.sinks import LedgerSink
    from ...model_config import TableSnapshot
    from ...receipt import Attempt
    from ...routing.route import Candidate, Route
    from ..steps import Try

log = logging.getLogger(__name__)

SHADOW = "shadow"
"""The arm of a copy for a shadow endpoint."""
MOST_PICO_DOLLARS = 2**63 - 1
"""The largest integer of a database, some nine million dollars; a higher cost is taken for an error."""
_REMEMBERED = 1000
"""Numbers of the latest attempts that were written: the call of one may end out of its turn just then."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_UNKNOWN = (None, None, None, None, None)


class LedgerKeyNames:
    """Computes the names of API keys in the ledger: keyed hashes, which stay the same after a restart.

    Args:
        secret: The hash key. If None, only stored keys (`StoredSecret`) get a name.
        snapshot: Returns the current table, with the operator's keys.
    """

    def __init__(self, secret: bytes | None, snapshot: Callable[[], TableSnapshot]) -> None:
        self._secret = secret
        self._snapshot = snapshot
        self._known: dict[str, str | None] = {}

    def find_key_name(self, route: Route, candidate: Candidate) -> str | None:
        """Return the name in the ledger of the key of ``candidate``; None if the key gets no name."""
        provider = candidate.endpoint.provider
        if candidate.owner == "user":
            place = provider.base_url if provider.access == OWN else ""
            return self._name(route.caller.key_for(provider), place)
        if candidate.key not in self._known:
            self._known[candidate.key] = self._of_house(candidate)
        return self._known[candidate.key]

    def _of_house(self, candidate: Candidate) -> str | None:
        """The name of a key of the house, from its place in the table; None if the table now has another key there."""
        snapshot, account = self._snapshot(), candidate.account
        key = snapshot.house_keys.get(account.slot) if account else None
        is_it = compute_fingerprint(key, hash_key=snapshot.fingerprint_hash_key) == candidate.key
        return self._name(key) if is_it else None

    def _name(self, key: SecretStr | None, place: str = "") -> str | None:
        if isinstance(key, StoredSecret):
            return key.fingerprint
        return None if key is None or self._secret is None else compute_fingerprint(key, place, self._secret)


class LedgerObserver(AttemptObserver):
    """Appends a record of each attempt to the ledger's sink.

    If the sink raises an exception, the call continues without this record. The 1st, 10th, 100th and so on
    lost record is logged.
    """

    def __init__(self, sink: LedgerSink, key_names: LedgerKeyNames) -> None:
        self._sink = sink
        self._key_names = key_names
        self._lost = 0
        self._written: deque[int] = deque(maxlen=_REMEMBERED)
        price_list_version()  # reads a file the first time

    @override
    def on_ended(self, step: Try, attempt: Attempt, _: ClassifiedFailure | None) -> None:
        if attempt.withdrawn:
            return
        try:
            self._sink.append(make_attempt_record(step, attempt, self._key_names))
            self._written.append(step.number)
        except Exception as error:
            if is_external_interruption(error):
                raise
            self._note_loss(error)

    @override
    def on_abandoned(self, step: Try, attempt: Attempt | None) -> None:
        if attempt is not None and step.number not in self._written:
            self.on_ended(step, attempt, None)

    def _note_loss(self, error: Exception) -> None:
        """Log the first, the tenth, the hundredth … lost record."""
        self._lost += 1
        if str(self._lost).rstrip("0") == "1":
            log.error("the ledger has lost %d record(s): %s", self._lost, type(error).__name__)


def make_attempt_record(step: Try, attempt: Attempt, key_names: LedgerKeyNames) -> AttemptRecord:
    """Build the ledger record of ``attempt``, the outcome of the request ``step``."""
    route, candidate = step.route, step.candidate
    caller = route.caller
    inward, outward, cached, cache_write, reasoning = _UNKNOWN if attempt.usage is None else attempt.usage
    cost = _pico_dollars(attempt.cost_usd)
    return AttemptRecord(
        route.call_id,
        attempt.number,
        (attempt.started - _EPOCH) // _MICROSECOND,
        attempt.duration // _MICROSECOND,
        None if attempt.first_byte is None else attempt.first_byte // _MICROSECOND,
        None if attempt.first_token is None else attempt.first_token // _MICROSECOND,
        route.feature.name,
        candidate.profile,
        attempt.endpoint,
        attempt.served_model,
        attempt.request_id,
        caller.user_id,
        caller.tenant_id,
        attempt.key_owner,
        key_names.find_key_name(route, candidate),
        attempt.account,
        attempt.outcome,
        attempt.category and attempt.category.value,
        attempt.status,
        attempt.finish_reason,
        route.needs.streams,
        attempt.hedge,
        candidate is not route.preferred and route.is_degraded(candidate),
        inward,
        outward,
        cached,
        cache_write,
        reasoning,
        attempt.estimated,
        cost,
        None if cost is None else describe_price_source(candidate.endpoint, route.table_hash),
        route.table_hash,
        SHADOW if route.is_shadow else route.arm,
        _current_trace(),
    )


def _pico_dollars(cost: Decimal | None) -> int | None:
    pico = None if cost is None else to_pico_usd(cost)
    return None if pico is None or pico > MOST_PICO_DOLLARS else pico


def _current_trace() -> str | None:
    """The id of OpenTelemetry's current trace; none if the package was never imported, because then nothing is traced."""
    telemetry = sys.modules.get("opentelemetry.trace")
    if telemetry is None:
        return None
    try:
        context = telemetry.get_current_span().get_span_context()
    except Exception as error:  # half imported, or another's fault
        if is_external_interruption(error):
            raise
        return None
    return f"{context.trace_id:032x}" if context.is_valid else None
