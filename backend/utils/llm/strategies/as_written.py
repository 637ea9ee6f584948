"""Strategies that keep the order of the table, or leave the choice to the application."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from typing_extensions import override

from .base import Stateless

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .base import SelectionContext, Some


class Ordered(Stateless):
    """Tries endpoints in the order of the table; each next one after a failure."""

    by: Literal["ordered"] = "ordered"
    balanced: ClassVar[bool] = False

    @override
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        return tier


ORDERED = Ordered()


class Custom(Stateless):
    """Asks the selector ``name``, a function that the application registered. Where no call is made, the table's order holds."""

    by: Literal["custom"] = "custom"
    name: str
    balanced: ClassVar[bool] = False

    @override
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        return tier
