"""The base class of strategies, and the view of endpoints that strategies get."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..state.load import LatencyKind, Target
    from ..state.rate_limiter import MeteredScope
    from ..state.traffic import TrafficState


class SelectableEndpoint(Protocol):
    """The properties of an endpoint with its key that a strategy may read. Implemented by `Candidate`."""

    @property
    def traffic_key(self) -> Target:
        """The key of its load and latency: the endpoint's name, and the operator's key or ``users`` for users' keys."""
        ...

    @property
    def scope(self) -> str:
        """The name under which a strategy keeps its state; the same for all endpoints among which it chooses."""
        ...

    @property
    def account_weight(self) -> int:
        """The weight of the operator's account (key) among the endpoint's accounts; 1 without accounts."""
        ...

    @property
    def max_prompt_tokens(self) -> int:
        """The longest prompt, in tokens, that leaves space in the context window for the answer."""
        ...

    @property
    def meters(self) -> Sequence[MeteredScope]:
        """The scopes with rate limits in which requests to the endpoint count."""
        ...


Some = TypeVar("Some", bound=SelectableEndpoint)


class SelectionContext(NamedTuple):
    """What a strategy knows about a call when it chooses an endpoint.

    Attributes:
        tokens: The prompt's length in tokens.
        latency_kind: The latency that matters: until the first token, or until the end of the answer.
        tier: The caller's tier, such as a paid plan; None if the caller has no tier.
        conversation: The id of the call's conversation; None if it has none.
        traffic: The load and latency of endpoints. Hold its lock to sort and choose in one atomic step.
    """

    tokens: int
    latency_kind: LatencyKind
    tier: str | None
    conversation: str | None
    traffic: TrafficState


class SelectionStrategy(BaseModel, ABC):
    """The base of all strategies that choose among several endpoints. The fields are the settings in the table.

    Attributes:
        by: The strategy's name in the table.
        balanced: Whether the endpoints are equally good. Then no answer counts as degraded, and all
            endpoints are tried before a retry at the same endpoint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Any  # each strategy narrows it to its own name
    balanced: ClassVar[bool] = True

    @abstractmethod
    def order_endpoints(self, candidates: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        """Sort ``candidates``, which have the order of the table, into the order in which to try them now.

        Must not change any state.
        """

    @abstractmethod
    def record_choice(
        self, selected: SelectableEndpoint, available: Sequence[SelectableEndpoint], context: SelectionContext
    ) -> None:
        """Record that ``selected`` was chosen among the ``available`` endpoints. Later orders may depend on it."""

    @abstractmethod
    def endpoints_in_settings(self) -> Iterable[tuple[str, str]]:
        """List the endpoints that the settings mention, as pairs of setting and endpoint, to check that they exist."""


class StatelessStrategy(SelectionStrategy, ABC):
    """The base of strategies that keep no record of choices, and whose settings mention no endpoints."""

    @override
    def record_choice(
        self, selected: SelectableEndpoint, available: Sequence[SelectableEndpoint], context: SelectionContext
    ) -> None:
        pass

    @override
    def endpoints_in_settings(self) -> tuple[()]:
        return ()


def sort_by_keys(
    keys: Sequence[float] | Sequence[tuple[float, ...]], candidates: Sequence[Some]
) -> list[Some]:
    """Sort ``candidates`` by ``keys``, which has one key for each. Equal keys keep the table's order."""
    return [candidates[place] for place in sorted(range(len(candidates)), key=keys.__getitem__)]
