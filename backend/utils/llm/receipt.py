"""Receipts: every attempt of a call, the endpoint that served it, and the key that paid."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast

from typing_extensions import TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from .types import FailureCategory, KeyOwner, Outcome, Per

RECEIPT_KEY = "receipt"
"""The key of the receipt in a message's ``response_metadata``."""
_MILLISECOND = timedelta(milliseconds=1)


def endpoint_label(endpoint: object, account: str | None) -> str:
    """Format the name of ``endpoint`` for people, with the operator's ``account`` in brackets if there is one."""
    return f"{endpoint} ({account})" if account else str(endpoint)


class TokenUsage(NamedTuple):
    """The token counts of one attempt.

    ``input`` includes ``cached`` and ``cache_write``; ``output`` includes ``reasoning``.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        """Tokens of input and output together."""
        return self.input + self.output

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any] | None) -> TokenUsage | None:
        """Read the token counts from LangChain's ``usage_metadata``; None if the provider reported none."""
        if not metadata:
            return None
        inward = metadata.get("input_token_details") or {}
        outward = metadata.get("output_token_details") or {}
        return cls(
            input=max(0, metadata.get("input_tokens", 0)),
            output=max(0, metadata.get("output_tokens", 0)),
            cached=max(0, inward.get("cache_read", 0)),
            cache_write=max(0, inward.get("cache_creation", 0)),
            reasoning=max(0, outward.get("reasoning", 0)),
        )


class Attempt(NamedTuple):
    """One request sent to one endpoint with one credential.

    Attributes:
        endpoint: ``provider:model``.
        served_model: The model that the provider says it used.
        substituted: Whether ``served_model`` is another model than the requested one.
        category: The kind of failure; None for a success.
        status: The HTTP status, if an answer came.
        first_byte: Time from the sending of the request to the answer's first byte; None if none came.
        first_token: Time from the start of the attempt to the first content of a stream; None without any.
        account: The operator's account whose key was used, if the provider has several; else None.
        handed_on: For a stream that broke, an estimate of the tokens that the caller had received by then.
        score: The answer's quality from 0 to 1 by the application's ``accept`` test; 1 if the test only
            accepted the answer; None without a test.
        cost_usd: The cost in US dollars; None, never 0, if it is unknown.
        finish_reason: Why the model stopped, in the terms of Chat Completions if they have one for it.
        request_id: The provider's id of the request, from a header of its answer.
        number: The attempt's number within its call, from 1, in the order in which attempts began.
        hedge: Whether it was a hedge: a second request, sent because the first was slow.
        withdrawn: Whether the request was not sent after all, for example because a budget had too little
            left. A withdrawn attempt is not counted.
        estimated: Whether usage and cost are estimates, because the provider reported none, or because the
            request was cancelled, or lost to its hedge, and is billed nevertheless.
    """

    endpoint: str
    key_owner: KeyOwner
    outcome: Outcome
    started: datetime
    duration: timedelta
    category: FailureCategory | None = None
    status: int | None = None
    first_byte: timedelta | None = None
    served_model: str | None = None
    substituted: bool = False
    usage: TokenUsage | None = None
    cost_usd: Decimal | None = None
    first_token: timedelta | None = None
    account: str | None = None
    score: float | None = None
    handed_on: int = 0
    hedge: bool = False
    estimated: bool = False
    withdrawn: bool = False
    finish_reason: str | None = None
    request_id: str | None = None
    number: int = 1

    def as_dict(self) -> AttemptDict:
        """The attempt as a JSON-ready dictionary."""
        return {
            "endpoint": self.endpoint,
            "account": self.account,
            "served_model": self.served_model,
            "substituted": self.substituted,
            "key_owner": self.key_owner,
            "outcome": self.outcome,
            "category": self.category and self.category.value,
            "status": self.status,
            "started": self.started.isoformat(),
            "duration_ms": round(self.duration / _MILLISECOND, 1),
            "first_byte_ms": None if self.first_byte is None else round(self.first_byte / _MILLISECOND, 1),
            "first_token_ms": None if self.first_token is None else round(self.first_token / _MILLISECOND, 1),
            "finish_reason": self.finish_reason,
            "request_id": self.request_id,
            "score": self.score,
            "hedge": self.hedge,
            "estimated": self.estimated,
            "usage": cast("TokenUsageDict", self.usage._asdict()) if self.usage else None,
            "cost_usd": None if self.cost_usd is None else str(self.cost_usd),
        }


class BudgetRemark(NamedTuple):
    """A remark in a receipt about one budget, such as that it is nearly used up.

    Attributes:
        budget: The budget's name.
        per: What the budget counts by, such as ``user``.
        mark: ``warning``: the budget is nearly used up. ``stepped_down``: a cheaper profile served to spare
            the budget. ``uncounted``: its counters could not be read, and the call was not counted.
    """

    budget: str
    per: Per
    mark: Literal["warning", "stepped_down", "uncounted"]

    def as_dict(self) -> BudgetRemarkDict:
        """The remark as a JSON-ready dictionary."""
        return {"budget": self.budget, "per": self.per, "mark": self.mark}


class Receipt(NamedTuple):
    """The record of a whole call: every attempt, the one that answered, and what all of them cost.

    Attributes:
        profile: The profile whose chain of endpoints served the call.
        degraded: Whether the demo model, or another endpoint than the first choice, answered.
        table_hash: The hash of the table that was in force for the call.
        answered: The attempt whose answer the caller got.
        arm: The caller's arm of the feature's A/B split; None if the feature has no split.
        asked_for: The endpoint that the call itself named; None if it named none.
        budgets: Remarks about budgets, such as a warning; empty if there are none.
        id: The call's id, a UUIDv7.
    """

    feature: str
    profile: str
    attempts: tuple[Attempt, ...]
    degraded: bool
    table_hash: str
    answered: Attempt
    arm: str | None = None
    asked_for: str | None = None
    budgets: tuple[BudgetRemark, ...] = ()
    id: str = ""

    @property
    def cost_usd(self) -> Decimal | None:
        """The cost of all attempts in US dollars; None if the cost of any attempt is unknown."""
        total = Decimal(0)
        for attempt in self.attempts:
            if attempt.cost_usd is None:
                return None
            total += attempt.cost_usd
        return total if self.attempts else None

    def as_dict(self) -> ReceiptDict:
        """The receipt as a JSON-ready dictionary, as in ``response_metadata["receipt"]``."""
        answered = self.answered
        cost = self.cost_usd
        return {
            "id": self.id,
            "feature": self.feature,
            "profile": self.profile,
            "endpoint": answered.endpoint,
            "served_model": answered.served_model,
            "key_owner": answered.key_owner,
            "attempts": list(map(Attempt.as_dict, self.attempts)),
            "cost_usd": None if cost is None else str(cost),
            "degraded": self.degraded,
            "accepted": answered.outcome == "ok",
            "arm": self.arm,
            "asked_for": self.asked_for,
            "budgets": list(map(BudgetRemark.as_dict, self.budgets)),
            "table_hash": self.table_hash,
        }


# As JSON -------------------------------------------------------------------------------------------------------------


class TokenUsageDict(TypedDict):
    """`TokenUsage` as JSON.

    ``input`` includes ``cached`` and ``cache_write``; ``output`` includes ``reasoning``.
    """

    input: int
    output: int
    cached: int
    cache_write: int
    reasoning: int


class AttemptDict(TypedDict):
    """`Attempt` as JSON. Times are milliseconds, ``started`` is ISO 8601 in UTC, ``cost_usd`` a decimal text."""

    endpoint: str
    account: str | None
    served_model: str | None
    substituted: bool
    key_owner: KeyOwner
    outcome: Outcome
    category: str | None
    status: int | None
    started: str
    duration_ms: float
    first_byte_ms: float | None
    first_token_ms: float | None
    finish_reason: str | None
    request_id: str | None
    score: float | None
    hedge: bool
    estimated: bool
    usage: TokenUsageDict | None
    cost_usd: str | None


class BudgetRemarkDict(TypedDict):
    """`BudgetRemark` as JSON."""

    budget: str
    per: Per
    mark: Literal["warning", "stepped_down", "uncounted"]


class ReceiptDict(TypedDict):
    """`Receipt` as JSON, as in ``response_metadata["receipt"]``."""

    id: str
    feature: str
    profile: str
    endpoint: str
    served_model: str | None
    key_owner: KeyOwner
    attempts: list[AttemptDict]
    cost_usd: str | None
    degraded: bool
    accepted: bool
    arm: str | None
    asked_for: str | None
    budgets: list[BudgetRemarkDict]
    table_hash: str


class HasResponseMetadata(Protocol):
    """An object with ``response_metadata``: a message or a message chunk of LangChain's."""

    response_metadata: dict[str, Any]


def receipt_of(answer: HasResponseMetadata) -> ReceiptDict:
    """Read the receipt from an answer, from the last chunk of a stream, or from the sum of all its chunks.

    Raises:
        LookupError: ``answer`` has no receipt: it does not come from a feature's model, or is a chunk before
            the last.
    """
    receipt = answer.response_metadata.get(RECEIPT_KEY)
    if receipt is None:
        raise LookupError(
            "There is no receipt: only answers of a feature have one, and of a stream the last chunk."
        )
    return cast("ReceiptDict", receipt)


_COLLECTED: ContextVar[tuple[list[ReceiptDict], ...]] = ContextVar("patchbay_receipts", default=())


@contextmanager
def receipts() -> Iterator[list[ReceiptDict]]:
    """Collect the receipts of all answers in this context, including structured calls, chains and agents.

    ``with receipts() as seen: ...``. Tasks and threads that copy the context are included. A failed call has
    no receipt; its attempts are in its error.
    """
    receipt_list: list[ReceiptDict] = []
    token = _COLLECTED.set((*_COLLECTED.get(), receipt_list))
    try:
        yield receipt_list
    finally:
        _COLLECTED.reset(token)


def collect_receipt(receipt: Receipt) -> ReceiptDict:
    """Convert ``receipt`` to JSON for the answer's metadata, and add it to the list of each `receipts` block."""
    made = receipt.as_dict()
    for receipt_list in _COLLECTED.get():
        receipt_list.append(made)
    return made
