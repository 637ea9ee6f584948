"""By when each quota ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from typing_extensions import override

from ..state.rate_limiter import first_reset
from .base import Strategy, sorted_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .base import Choosable, SelectionContext, Some


class Quota(Strategy):
    """The one whose quota ends soonest, while it lasts: what is not used by then is lost."""

    by: Literal["quota"] = "quota"

    @override
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        resets = context.traffic.rate_limiter.resets()
        return sorted_by([first_reset(one.meters, resets) for one in tier], tier)

    @override
    def chosen(self, one: Choosable, among: Sequence[Choosable], context: SelectionContext) -> None:
        pass

    @override
    def named(self) -> tuple[()]:
        return ()
