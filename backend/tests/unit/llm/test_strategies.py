"""Every strategy is whole: what is missing in one is no default that nobody chose."""

from __future__ import annotations

from pkgutil import iter_modules
from typing import TYPE_CHECKING, ClassVar, Literal

import pytest
from typing_extensions import override

from backend.tests.fakes.simulation import World, ok
from backend.utils.llm import strategies
from backend.utils.llm.strategies import (
    STRATEGIES,
    OrderedStrategy,
    SelectionStrategy,
    index_strategies_by_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.utils.llm.strategies import SelectionContext
    from backend.utils.llm.strategies.base import Some

QUOTAS = "".join(f'[providers.{name}.limits]\nrequests = "6/day"\n' for name in ("red", "blue"))


class WithoutEffectAndNames(SelectionStrategy):
    by: Literal["half"] = "half"

    @override
    def order_endpoints(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        return tier


class Nameless(OrderedStrategy):
    by: Literal["ordered"]


class Namesake(OrderedStrategy):
    balanced: ClassVar[bool] = True


@pytest.mark.parametrize("by", sorted(by for by, kind in STRATEGIES.items() if kind.balanced))
def test_a_strategy_sends_to_both_of_two_equal_endpoints_or_says_that_it_is_not_balanced(by: str) -> None:
    """Quotas are equal as long as they last, and only where there are any is one to choose by them."""
    world = World(
        {"f": ["red:m", "blue:m"]},
        f'[features.f]\nselect = "{by}"\n{QUOTAS if by == "quota" else ""}',
        behaves={"red:m": ok(0.1), "blue:m": ok(0.1)},
    )

    tried = [world.call("f").tried[0] for _ in range(10)]

    assert set(tried) == {"red:m", "blue:m"}


@pytest.mark.parametrize("kind", [WithoutEffectAndNames, Nameless, Namesake])
def test_a_strategy_that_is_not_whole_is_refused_when_the_list_is_made(kind: type[SelectionStrategy]) -> None:
    with pytest.raises(TypeError, match=kind.__name__):
        index_strategies_by_name(OrderedStrategy, kind)


def test_one_that_lacks_a_part_is_a_type_error() -> None:
    """Mypy tells if one of these is none any more."""
    with pytest.raises(TypeError, match="record_choice"):
        WithoutEffectAndNames()  # type: ignore[abstract]
    with pytest.raises(TypeError):
        index_strategies_by_name(WithoutEffectAndNames)  # type: ignore[type-abstract]


def test_every_file_of_the_room_is_in_the_list() -> None:
    files = [f"{strategies.__name__}.{found.name}" for found in iter_modules(strategies.__path__)]

    assert sorted({kind.__module__ for kind in STRATEGIES.values()}) == [
        name for name in files if not name.endswith(".base")
    ]
