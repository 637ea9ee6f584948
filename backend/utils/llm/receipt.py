"""Receipts: every attempt of a call, who served, who paid."""

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

    from .types import Category, KeyOwner, Outcome, Per

RECEIPT_KEY = "receipt"
"""Where the receipt stands in a message's ``response_metadata``."""
_MILLISECOND = timedelta(milliseconds=1)


def called(endpoint: object, account: str | None) -> str:
    """The endpoint as people are told it, with the account if there are several."""
    return f"{endpoint} ({account})" if account else str(endpoint)


class Usage(NamedTuple):
    """Tokens of one attempt. ``cached`` and ``cache_write`` are part of the input, ``reasoning`` of the output."""

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
    def of(cls, metadata: Mapping[str, Any] | None) -> Usage | None:
        """The usage in LangChain's ``usage_metadata``; None if the provider told none."""
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
        substituted: Whether that is another one than was asked for.
        category: What kind of failure it was; None for a success.
        status: The HTTP status, if an answer came.
        first_byte: Time to the answer's first byte, if one came.
        first_token: Time to the first content of a stream.
        account: Which of the house's accounts it went out with, if there are several.
        handed_on: Of a stream that was broken off, about how many tokens had been handed on.
        score: How good the answer is, from 0 to 1, if somebody tested it: what they said, or 1 for an accepted one.
        cost_usd: None if unknown, never 0 for that.
        finish_reason: Why the model stopped, by the name of Chat Completions, or as the provider told it.
        request_id: What the provider calls the request, by a header of its answer.
        number: Its place among the attempts of the call, from 1, in the order in which they began.
        hedge: Whether it went out beside the first request, which took too long.
        withdrawn: Whether it was not sent after all, as a hedge may be, or what is too dear for a budget: no attempt of the call.
        estimated: Whether usage and cost are our estimate: the provider did not tell them, or it was given up: cancelled, or for the other's
            answer, and is billed all the same.
    """

    endpoint: str
    key_owner: KeyOwner
    outcome: Outcome
    started: datetime
    duration: timedelta
    category: Category | None = None
    status: int | None = None
    first_byte: timedelta | None = None
    served_model: str | None = None
    substituted: bool = False
    usage: Usage | None = None
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
        """JSON-ready."""
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
            "usage": cast("UsageDict", self.usage._asdict()) if self.usage else None,
            "cost_usd": None if self.cost_usd is None else str(self.cost_usd),
        }


class BudgetMark(NamedTuple):
    """A remark about one budget in a receipt.

    Attributes:
        budget: Its name, and ``per`` whose counter it is.
        mark: ``warning``: it is nearly used up. ``stepped_down``: a cheaper profile served for its sake.
            ``uncounted``: its counters could not be read, and the call went on without.
    """

    budget: str
    per: Per
    mark: Literal["warning", "stepped_down", "uncounted"]

    def as_dict(self) -> BudgetMarkDict:
        """JSON-ready."""
        return {"budget": self.budget, "per": self.per, "mark": self.mark}


class Receipt(NamedTuple):
    """The whole call.

    Attributes:
        profile: The profile that decided.
        degraded: True if another endpoint than the first choice answered, or the demo model did.
        table_hash: The snapshot of the table that decided.
        answered: The attempt whose answer is handed on.
        arm: Which arm of the feature's split the call was in; None without one.
        asked_for: The endpoint that the call itself named; None if the table decided alone.
        budgets: Those of which there is something to say.
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
    budgets: tuple[BudgetMark, ...] = ()
    id: str = ""

    @property
    def cost_usd(self) -> Decimal | None:
        """The cost of all attempts together; None as soon as one of them is unknown."""
        total = Decimal(0)
        for attempt in self.attempts:
            if attempt.cost_usd is None:
                return None
            total += attempt.cost_usd
        return total if self.attempts else None

    def as_dict(self) -> ReceiptDict:
        """JSON-ready; this is what stands in ``response_metadata["receipt"]``."""
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
            "budgets": list(map(BudgetMark.as_dict, self.budgets)),
            "table_hash": self.table_hash,
        }


# As JSON -------------------------------------------------------------------------------------------------------------


class UsageDict(TypedDict):
    """`Usage` as JSON, in tokens. ``cached`` and ``cache_write`` are part of ``input``, ``reasoning`` of ``output``."""

    input: int
    output: int
    cached: int
    cache_write: int
    reasoning: int


class AttemptDict(TypedDict):
    """`Attempt` as JSON. Times are in milliseconds, ``started`` is ISO 8601 in UTC, ``cost_usd`` a decimal number."""

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
    usage: UsageDict | None
    cost_usd: str | None


class BudgetMarkDict(TypedDict):
    """`BudgetMark` as JSON."""

    budget: str
    per: Per
    mark: Literal["warning", "stepped_down", "uncounted"]


class ReceiptDict(TypedDict):
    """`Receipt` as JSON: what stands in ``response_metadata["receipt"]``."""

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
    budgets: list[BudgetMarkDict]
    table_hash: str


class HasMetadata(Protocol):
    """A message of LangChain's, or a chunk of one."""

    response_metadata: dict[str, Any]


def receipt_of(answer: HasMetadata) -> ReceiptDict:
    """The receipt of an answer, or of the last chunk of a stream, or of the sum of all its chunks.

    Raises:
        LookupError: It has none: it is no answer of a feature, or a chunk before the last.
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
    """Collect the receipts of all answers in this context: of structured calls, chains and agents, too.

    ``with receipts() as seen: ...``. Tasks and threads that copy the context are part of it. A call that fails has no
    receipt; its error has the attempts.
    """
    seen: list[ReceiptDict] = []
    token = _COLLECTED.set((*_COLLECTED.get(), seen))
    try:
        yield seen
    finally:
        _COLLECTED.reset(token)


def hand_out(receipt: Receipt) -> ReceiptDict:
    """``receipt`` as JSON, for its answer, and for whoever collects `receipts` in this context."""
    made = receipt.as_dict()
    for seen in _COLLECTED.get():
        seen.append(made)
    return made
