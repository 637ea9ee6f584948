"""As written, or as the application says."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from typing_extensions import override

from .base import Stateless

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .base import SelectionContext, Some


class Ordered(Stateless):
    """As written, the next one when the one before has failed."""

    by: Literal["ordered"] = "ordered"
    balanced: ClassVar[bool] = False

    @override
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        return tier


ORDERED = Ordered()


class Custom(Stateless):
    """Whatever the selector of that name says, which the application registers. Until it is asked, as written."""

    by: Literal["custom"] = "custom"
    name: str
    balanced: ClassVar[bool] = False

    @override
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        return tier
