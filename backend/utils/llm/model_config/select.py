"""How one of several endpoints is chosen: one row for each strategy, with the settings that it takes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from .limits import RateField


class _Strategy(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Ordered(_Strategy):
    """As written, the next one when the one before has failed."""

    by: Literal["ordered"] = "ordered"


class Weighted(_Strategy):
    """In turn, as often as the weights say. An endpoint without a weight has 1."""

    by: Literal["weighted"] = "weighted"
    weights: dict[str, Annotated[int, Field(gt=0, le=1000)]] = Field(default_factory=dict)


class LeastUsed(_Strategy):
    """The one that had the fewest requests lately. An earlier minute counts half."""

    by: Literal["least_used"] = "least_used"


class LeastBusy(_Strategy):
    """The one with the fewest requests under way."""

    by: Literal["least_busy"] = "least_busy"


class Latency(_Strategy):
    """The quicker of two that are drawn; how quick, by the answers of late.

    Streams are timed to their first token, whole answers to their end.

    Attributes:
        explore: Which share of the calls goes to the endpoint that was not timed for longest, to time it again.
        stale_after: Not before so many seconds since it was.
    """

    by: Literal["latency"] = "latency"
    explore: float = Field(0.05, gt=0, le=0.5)
    stale_after: float = Field(2.0, gt=0, le=3600)


class Allowance(_Strategy):
    """What one tier of callers may use, best first.

    Attributes:
        tokens: How much a user of this tier may use before the first endpoint is no longer theirs.
        until: The share of ``tokens`` at which that happens.
    """

    endpoints: Annotated[tuple[str, ...], Field(min_length=1)]
    tokens: RateField | None = None
    until: float = Field(0.9, gt=0, le=1)


def _allowance(written: object) -> object:
    if isinstance(written, str):
        return {"endpoints": [written]}
    return {"endpoints": written} if isinstance(written, list | tuple) else written


class ByTier(_Strategy):
    """By the caller's tier. What the tier does not list is not used for its callers, whatever fails.

    Attributes:
        tiers: Tier to endpoints.
        default: The tier of callers who have none, or one that is not listed.
    """

    by: Literal["tier"] = "tier"
    tiers: dict[str, Annotated[Allowance, BeforeValidator(_allowance)]] = Field(min_length=1)
    default: str


class ContextLadder(_Strategy):
    """The first whose window holds the prompt and the answer, smallest first as written.

    Attributes:
        up_to: The longest prompt, in tokens, for which an endpoint is preferred; by default as long as its window takes.
        back_at: A conversation that has climbed comes down again once it fits into this share of the room below.
    """

    by: Literal["context"] = "context"
    up_to: dict[str, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)
    back_at: float = Field(0.8, gt=0, le=1)


class CostLadder(_Strategy):
    """The first, cheapest as written, whose answers have been good enough; one rung up when an answer is not.

    Attributes:
        enough: The mean score from which an endpoint's answers are good enough. An accepted answer scores 1, one that
            is rejected 0, unless whoever judges says a figure between.
        least: With fewer scores than this an endpoint is unknown, and is tried.
        remember: Seconds after which a score is forgotten.
        explore: Which share of the calls starts at the bottom all the same.
    """

    by: Literal["cost"] = "cost"
    enough: float = Field(0.8, ge=0, le=1)
    least: int = Field(20, ge=1, le=100)
    remember: float = Field(3600.0, gt=0)
    explore: float = Field(0.05, gt=0, le=0.5)


class Quota(_Strategy):
    """The one whose quota ends soonest, while it lasts: what is not used by then is lost."""

    by: Literal["quota"] = "quota"


class Custom(_Strategy):
    """Whatever the selector of that name says, which the application registers."""

    by: Literal["custom"] = "custom"
    name: str


def _spelt_out(written: object) -> object:
    """``"latency"`` is short for ``{ by = "latency" }``."""
    return {"by": written} if isinstance(written, str) else written


Selection = Annotated[
    Annotated[
        Ordered
        | Weighted
        | LeastUsed
        | LeastBusy
        | Latency
        | ByTier
        | ContextLadder
        | CostLadder
        | Quota
        | Custom,
        Field(discriminator="by"),
    ],
    BeforeValidator(_spelt_out),
]
ORDERED = Ordered()
