"""The ledger's record of one attempt.

Times are whole microseconds, money is whole pico-dollars (10⁻¹² US dollars), so that sums are exact. None means unknown,
never zero. A record holds no key, no prompt and no answer.
"""

from __future__ import annotations

import json
from typing import NamedTuple, Self

_encoded = json.JSONEncoder(separators=(",", ":")).encode


class AttemptRecord(NamedTuple):
    """The ledger's record of one attempt: one request that a call sent or was about to send, and its outcome.

    Attributes:
        call: The call's id, a UUIDv7, the same for all its attempts. It is also the ``id`` of the receipt.
        number: The attempt's position in the call, from 1, in the order in which attempts began.
        at: When the attempt began, in microseconds since 1970 (UTC).
        duration: Microseconds from ``at`` to the attempt's end.
        first_byte: Microseconds from sending the request to the answer's first byte; None if no byte came.
        first_token: Microseconds from ``at`` to the first content of a stream; None if the answer was not
            streamed.
        feature: The feature that was called.
        profile: The profile whose chain was used.
        endpoint: ``provider:model``.
        served_model: The model that the provider says it used.
        request_id: The provider's id of the request, one short line.
        user: The caller's user, as named by the application.
        tenant: The caller's organisation.
        key_owner: Whose API key was used: ``house`` (the operator's) or ``user``.
        key: A keyed hash that identifies the API key without revealing it; None without a key.
        account: The house's account that was used, if it has several at the provider.
        outcome: ``ok``, ``rejected``, ``failed`` or ``cancelled``.
        category: The kind of failure; None for a success.
        status: The HTTP status; None if no answer came.
        finish_reason: Why the model stopped: Chat Completions' name for it, or else the provider's.
        stream: Whether the answer was requested as a stream.
        hedge: Whether the attempt was a hedge, sent while the first request was still in flight.
        degraded: Whether the endpoint is not the call's first choice.
        input: Tokens of the prompt, including ``cached`` and ``cache_write``.
        output: Tokens of the answer, including ``reasoning``.
        cached: Tokens read from the provider's cache.
        cache_write: Tokens written to the provider's cache.
        reasoning: Tokens of hidden reasoning.
        estimated: Whether tokens and cost are estimates, because the provider reported no usage.
        cost: The cost in pico-dollars; None if unknown.
        price_version: The version of the price list for ``cost``, or a note that the table sets the price.
        table_hash: The hash of the table that was in use.
        arm: The variant of the feature's split, or ``shadow`` for a copy; None without a split.
        trace: The id of the current OpenTelemetry trace, as 32 hex digits; None without a trace.
    """

    call: str
    number: int
    at: int
    duration: int
    first_byte: int | None
    first_token: int | None
    feature: str
    profile: str
    endpoint: str
    served_model: str | None
    request_id: str | None
    user: str | None
    tenant: str | None
    key_owner: str
    key: str | None
    account: str | None
    outcome: str
    category: str | None
    status: int | None
    finish_reason: str | None
    stream: bool
    hedge: bool
    degraded: bool
    input: int | None
    output: int | None
    cached: int | None
    cache_write: int | None
    reasoning: int | None
    estimated: bool
    cost: int | None
    price_version: str | None
    table_hash: str
    arm: str | None
    trace: str | None

    def as_json(self) -> str:
        """Encode the record as a JSON object on one line, in ASCII."""
        return _encoded(self._asdict())

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Decode a record that `as_json` encoded.

        Raises:
            ValueError: The text is not JSON.
            TypeError: The JSON is not a record, or is a record of another version.
        """
        return cls(**json.loads(text))
