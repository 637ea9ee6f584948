"""The base class of strategies, and the view of endpoints that strategies get."""

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
    """The facts that a strategy may read of an endpoint with a key."""

    @property
    def target(self) -> Target:
        """The endpoint's name and the key that pays, under which load and latency are kept."""
        ...

    @property
    def scope(self) -> str:
        """The name under which choices of the tier are counted; the same for all its endpoints."""
        ...

    @property
    def share(self) -> int:
        """The weight of the operator's account, relative to the endpoint's other accounts; 1 without accounts."""
        ...

    @property
    def room(self) -> int:
        """The longest prompt, in tokens, that leaves space in the context window for the answer."""
        ...

    @property
    def meters(self) -> Sequence[Meter]:
        """The limits against which requests to the endpoint count."""
        ...


Some = TypeVar("Some", bound=Choosable)


class SelectionContext(NamedTuple):
    """The inputs of a choice other than the candidates.

    Attributes:
        tokens: The prompt's length in tokens.
        latency_kind: Which latency of an endpoint matters: to the first token, or to the end.
        tier: The caller's tier, such as the plan that they pay for; None without one.
        conversation: The id of the call's conversation; None without one.
        traffic: The load and latency of endpoints. Hold its lock to order and choose in one atomic step.
    """

    tokens: int
    latency_kind: LatencyKind
    tier: str | None
    conversation: str | None
    traffic: Traffic


class Strategy(BaseModel, ABC):
    """A way to choose one of several endpoints, with the settings that it takes in the table.

    Attributes:
        by: The strategy's name in the table.
        balanced: Whether its endpoints are equally good, so that no answer counts as degraded, and all endpoints are
            tried before any is retried.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Any  # each strategy narrows it to its own name
    balanced: ClassVar[bool] = True

    @abstractmethod
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        """Sort ``tier``, given in the table's order, into the order in which to try it now. Must not change state."""

    @abstractmethod
    def chosen(self, one: Choosable, among: Sequence[Choosable], context: SelectionContext) -> None:
        """Remember that ``one`` was chosen ``among`` the available endpoints of its tier, for later calls of `order`."""

    @abstractmethod
    def named(self) -> Iterable[tuple[str, str]]:
        """The endpoints that the strategy's settings mention, each after the setting's name, so that the table can be checked."""


class Stateless(Strategy, ABC):
    """The base of strategies that remember no choices, and whose settings name no endpoints."""

    @override
    def chosen(self, one: Choosable, among: Sequence[Choosable], context: SelectionContext) -> None:
        pass

    @override
    def named(self) -> tuple[()]:
        return ()


def sorted_by(keys: Sequence[float] | Sequence[tuple[float, ...]], tier: Sequence[Some]) -> list[Some]:
    """Sort the endpoints of ``tier`` by ``keys``, one for each; endpoints with equal keys keep the table's order."""
    return [tier[place] for place in sorted(range(len(tier)), key=keys.__getitem__)]
