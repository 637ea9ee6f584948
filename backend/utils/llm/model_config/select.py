"""How one of several endpoints is chosen: one row for each strategy, with the settings that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, model_validator

from .limits import RateField
from .problems import broken, did_you_mean


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
    """The quickest by the answers of late, times the requests that it has under way.

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

    @model_validator(mode="after")
    def _has_somewhere_to_go(self) -> Self:
        if self.tokens is not None and len(self.endpoints) == 1:
            raise broken(
                "has tokens, but no second endpoint to go on with", "Name one, or leave the tokens out."
            )
        if self.tokens is None and "until" in self.model_fields_set:
            raise broken(
                "has until, but no tokens that it is a share of", 'Add tokens = "…/day", or leave it out.'
            )
        return self


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


Strategy = (
    Ordered
    | Weighted
    | LeastUsed
    | LeastBusy
    | Latency
    | ByTier
    | ContextLadder
    | CostLadder
    | Quota
    | Custom
)
STRATEGIES: dict[str, type[Strategy]] = {kind.model_fields["by"].default: kind for kind in get_args(Strategy)}
"""By what ``by`` says."""


def strategy_of(written: object) -> type[Strategy] | None:
    """The strategy that ``written`` names: ``"latency"`` is short for ``{ by = "latency" }``."""
    by = written.get("by") if isinstance(written, Mapping) else written
    return STRATEGIES.get(by) if isinstance(by, str) else None


def _selection(written: object) -> Strategy:
    """Not left to a discriminated union, which tells of its own insides when something is wrong."""
    if isinstance(written, Strategy):
        return written
    if not isinstance(written, str | Mapping):
        raise broken('must be the name of a strategy, or a table { by = "…" }', _known_to(None))
    by = written.get("by") if isinstance(written, Mapping) else written
    kind = strategy_of(written)
    if by is None:
        raise broken("does not say by what: by is missing", _known_to(None))
    if kind is None:
        raise broken(f"there is no strategy {by!r}", _known_to(by))
    needed = [name for name, field in kind.model_fields.items() if field.is_required()]
    if needed and isinstance(written, str):
        shown = ", ".join([f'by = "{by}"', *(f"{name} = …" for name in needed)])
        raise broken(f"{by} needs more than its name", f"Write a table: {{ {shown} }}.")
    fitted: Strategy = kind.model_validate({"by": by} if isinstance(written, str) else written)
    return fitted


def _known_to(by: object) -> str:
    return did_you_mean(by if isinstance(by, str) else "", STRATEGIES)


Selection = Annotated[Strategy, PlainValidator(_selection)]
ORDERED = Ordered()
