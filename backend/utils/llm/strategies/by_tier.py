"""The strategy that chooses by the caller's tier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import override

from ..problems import make_rule_error
from ..rate_limits import RateField
from .base import SelectionStrategy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .base import SelectableEndpoint, SelectionContext, Some


class TierAllowance(BaseModel):
    """The endpoints that the callers of one tier may use, best first.

    Attributes:
        tokens: The tokens that a user of this tier may use in a period; None for no limit.
        until: The share of ``tokens``, from 0 to 1, after whose use the first endpoint no longer serves the
            user.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoints: Annotated[tuple[str, ...], Field(min_length=1)]
    tokens: RateField | None = None
    until: float = Field(default=0.9, gt=0, le=1)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.tokens is not None and len(self.endpoints) == 1:
            raise make_rule_error(
                "has tokens, but no second endpoint to go on with", "Name one, or leave the tokens out."
            )
        if self.tokens is None and "until" in self.model_fields_set:
            raise make_rule_error(
                "has until, but no tokens that it is a share of", 'Add tokens = "…/day", or leave it out.'
            )
        return self


def _allowance(written: object) -> object:
    if isinstance(written, str):
        return {"endpoints": [written]}
    return {"endpoints": written} if isinstance(written, list | tuple) else written


class TierStrategy(SelectionStrategy):
    """Chooses endpoints by the caller's tier. An endpoint that the tier does not list never serves its callers.

    Attributes:
        tiers: The endpoints of each tier.
        default: The tier of callers without a tier, or with a tier that is not listed.
    """

    by: Literal["tier"] = "tier"
    tiers: dict[str, Annotated[TierAllowance, BeforeValidator(_allowance)]] = Field(min_length=1)
    default: str
    balanced: ClassVar[bool] = False

    def effective_tier(self, tier: str | None) -> str:
        """The tier whose settings apply to a caller of ``tier``: ``tier`` itself if it is listed, else ``default``."""
        return tier if tier in self.tiers else self.default

    @override
    def order_endpoints(self, candidates: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        endpoints = self.tiers[self.effective_tier(context.tier)].endpoints
        places = {name: place for place, name in enumerate(endpoints)}
        return sorted(candidates, key=lambda candidate: places.get(candidate.traffic_key[0], len(places)))

    @override
    def record_choice(
        self, selected: SelectableEndpoint, available: Sequence[SelectableEndpoint], context: SelectionContext
    ) -> None:
        pass

    @override
    def endpoints_in_settings(self) -> Iterator[tuple[str, str]]:
        return ((f"tiers.{tier}", name) for tier, allowed in self.tiers.items() for name in allowed.endpoints)
