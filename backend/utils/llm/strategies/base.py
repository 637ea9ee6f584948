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
        """The endpoint's name, and whose key pays: the key under which load and latency are kept."""
        ...

    @property
    def scope(self) -> str:
        """The name under which choices of the tier are counted; the same for all its endpoints."""
        ...

    @property
    def share(self) -> int:
        """The weight of the house's account; 1 if there are no accounts."""
        ...

    @property
    def room(self) -> int:
        """The longest prompt that leaves room for the answer, in tokens."""
        ...

    @property
    def meters(self) -> Sequence[Meter]:
        """The limits against which requests to the endpoint count."""
        ...


Some = TypeVar("Some", bound=Choosable)


class SelectionContext(NamedTuple):
    """The inputs of a choice beside the candidates.

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
    """A way to choose one of several endpoints, with the settings that it takes in the table.

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
        """Sort the endpoints of ``tier``, given as the table has them, into the order in which to try them now. Must change nothing."""

    @abstractmethod
    def chosen(self, one: Choosable, among: Sequence[Choosable], context: SelectionContext) -> None:
        """Note that ``one`` is asked now, chosen ``among`` the usable endpoints of its tier."""

    @abstractmethod
    def named(self) -> Iterable[tuple[str, str]]:
        """The endpoints that the strategy's own settings name, as pairs of the setting and the endpoint."""


class Stateless(Strategy, ABC):
    """A strategy that remembers no choices, and whose settings name no endpoints."""

    @override
    def chosen(self, one: Choosable, among: Sequence[Choosable], context: SelectionContext) -> None:
        pass

    @override
    def named(self) -> tuple[()]:
        return ()


def sorted_by(keys: Sequence[float] | Sequence[tuple[float, ...]], tier: Sequence[Some]) -> list[Some]:
    """``tier`` by the ``keys`` of each, as written where they are the same."""
    return [tier[place] for place in sorted(range(len(tier)), key=keys.__getitem__)]
