"""Whatever the application says."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from typing_extensions import override

from .base import Strategy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .base import Choosable, SelectionContext, Some


class Custom(Strategy):
    """Whatever the selector of that name says, which the application registers. Until it is asked, as written."""

    by: Literal["custom"] = "custom"
    name: str
    balanced: ClassVar[bool] = False

    @override
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        return tier

    @override
    def chosen(self, one: Choosable, among: Sequence[Choosable], context: SelectionContext) -> None:
        pass

    @override
    def named(self) -> tuple[()]:
        return ()
