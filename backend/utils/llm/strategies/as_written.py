"""Strategies that keep the order of the table, or leave the choice to the application."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from typing_extensions import override

from .base import StatelessStrategy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .base import SelectionContext, Some


class OrderedStrategy(StatelessStrategy):
    """Tries endpoints in the order in which the table lists them; the next endpoint after each failure."""

    by: Literal["ordered"] = "ordered"
    balanced: ClassVar[bool] = False

    @override
    def order_endpoints(self, candidates: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        return candidates


ORDERED = OrderedStrategy()


class CustomStrategy(StatelessStrategy):
    """Leaves the choice to a selector, a function that the application registered as ``name``.

    Where a route is only planned and no call is made, endpoints keep the order of the table.
    """

    by: Literal["custom"] = "custom"
    name: str
    balanced: ClassVar[bool] = False

    @override
    def order_endpoints(self, candidates: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        return candidates
