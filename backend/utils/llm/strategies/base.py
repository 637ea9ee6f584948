"""What a strategy is: its row in the table, its order, what a choice leaves behind, and which endpoints it names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..state.load import LatencyKind, Target
    from ..state.rate_limiter import Meter
    from ..state.traffic import Traffic


class Choosable(Protocol):
    """An endpoint with a key, as far as a strategy may know it."""

    @property
    def target(self) -> Target:
        """The endpoint's name, and whose key."""
        ...

    @property
    def scope(self) -> str:
        """What the choice is called; the same for all of a tier."""
        ...

    @property
    def share(self) -> int:
        """The weight of its account."""
        ...

    @property
    def room(self) -> int:
        """The longest prompt that leaves room for the answer, in tokens."""
        ...

    @property
    def meters(self) -> Sequence[Meter]:
        """The limits that its requests count for."""
        ...


Some = TypeVar("Some", bound=Choosable)


class SelectionContext(NamedTuple):
    """What a choice depends on, beside the candidates.

    Attributes:
        tokens: The prompt's length.
        latency_kind: Which of an endpoint's times matters for the call.
        tier: The caller's plan.
        conversation: What the call belongs to.
        traffic: What goes on. Who orders and chooses in one step holds its lock.
    """

    tokens: int
    latency_kind: LatencyKind
    tier: str | None
    conversation: str | None
    traffic: Traffic


class Strategy(BaseModel, ABC):
    """How one of several endpoints is chosen, with the settings that it takes in the table.

    Attributes:
        by: Its name in the table.
        balanced: Whether the endpoints are each as good as the other: then no answer of one is second best, and all are
            tried before one is tried again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Any  # each strategy narrows it to its own name
    balanced: ClassVar[bool] = True

    @abstractmethod
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        """``tier``, which stands as it is written, in the order in which it would be tried now. It only looks."""

    @abstractmethod
    def chosen(self, one: Choosable, among: Sequence[Choosable], context: SelectionContext) -> None:
        """``one`` is asked; it was chosen ``among`` those of its tier that could be."""

    @abstractmethod
    def named(self) -> Iterable[tuple[str, str]]:
        """Every endpoint that its row names, after the key where it does."""


class Stateless(Strategy, ABC):
    """A strategy whose choices leave nothing behind, and whose row names no endpoint. Say so by inheriting from it."""

    @override
    def chosen(self, one: Choosable, among: Sequence[Choosable], context: SelectionContext) -> None:
        pass

    @override
    def named(self) -> tuple[()]:
        return ()


def sorted_by(keys: Sequence[float] | Sequence[tuple[float, ...]], tier: Sequence[Some]) -> list[Some]:
    """``tier`` by the ``keys`` of each, as written where they are the same."""
    return [tier[place] for place in sorted(range(len(tier)), key=keys.__getitem__)]
