"""The protocol of a store of shared state: it counts for limits, knows which processes are present, and passes events on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

LEASE_SECONDS = 15.0
"""Seconds after which a place under ``concurrency`` is released unless its process renews it."""
RENEW_SECONDS = LEASE_SECONDS / 3
GRAINS = 600
"""Parts of a window. Amounts of one part expire together, when the whole part is a window's length old."""
SLACK = 0.015
"""The share of a window's length for which a grant counts longer: processes send granted requests with delays."""
PROMPT_SECONDS = 0.005
"""Seconds within which a grant is never received late."""

ALLOWED_SECONDS = 2.0
"""Seconds for which a process may use its allowance, from when it asked for it."""
KEPT_ASIDE_SECONDS = 4.0
"""Seconds for which an allowance is withheld from other processes: until its process has reported, even late."""
PART = 2
"""At most 1/`PART` of what is left is set aside for all processes together; at least 1 for each, if there is enough."""
LOOK_SECONDS = 0.25
"""Seconds until the next request for an amount that is left, but set aside for others."""

Kind = Literal["window", "total", "places"]


class SharedLimit(NamedTuple):
    """A counter in the store with its limit, and the amount that a request asks for.

    Attributes:
        key: The counter's key in the store.
        kind: ``window``: a sliding window. ``total``: a sum, deleted after ``seconds``. ``places``: slots
            for requests in flight, which are held until released.
        ask: The amount that the request needs.
        most: The limit for all processes together.
        seconds: The window's length; for a total, how long it is kept.
    """

    key: str
    kind: Kind
    ask: int
    most: int
    seconds: float = LEASE_SECONDS

    @property
    def bucket_seconds(self) -> float:
        """The length of one bucket of the sliding window, in seconds. Amounts in one bucket expire together."""
        return max(0.001, self.seconds / GRAINS)

    @property
    def grant_seconds(self) -> float:
        """Seconds for which a granted amount counts: a little longer than the window."""
        return self.seconds * (1 + SLACK)

    @property
    def max_grant_delay_seconds(self) -> float:
        """The longest delay of a grant, in seconds, after which the request still counts from when it was asked for.

        After a longer delay it counts from its sending. The value is a part of `SLACK`, because the way to the
        provider takes time, too.
        """
        return max(PROMPT_SECONDS, self.seconds * SLACK / 18)


class LimitState(NamedTuple):
    """The state of one limit, in an answer of the store.

    Attributes:
        left: The amount left.
        wait: Seconds until the amount asked for is free; 0 if it is free now, inf if unknown.
        bucket: The part of the window from which the amount was taken; needed to return unused amounts.
        allowance: The amount that the process may use from now on while the store does not answer; None if
            the earlier allowance holds, less what the store has granted from it.
    """

    left: int
    wait: float = 0.0
    bucket: int = -1
    allowance: int | None = None


class ReservationAnswer(NamedTuple):
    """The store's answer to a reservation: whether it was granted, and the state of each of its limits."""

    granted: bool
    rooms: tuple[LimitState, ...]


class CounterChange(NamedTuple):
    """A change of a counter by ``amount``, which may be negative.

    ``bucket`` is the part of the window that changes; -1 is the current part. A part that has expired does
    not change.
    """

    limit: SharedLimit
    bucket: int
    amount: int


class SharedEvent(NamedTuple):
    """A message from one process to all others.

    Attributes:
        kind: The kind of event, which decides who handles it.
        values: JSON-ready values. They contain no text of a user, and keys only as keyed hashes.
    """

    kind: str
    values: tuple[Any, ...]


class EventHandler(Protocol):
    """A callback that receives the events of other processes."""

    def __call__(self, event: SharedEvent, age: float, /) -> None:
        """Handle ``event``, published ``age`` seconds ago. Called from any thread."""


class StateStore(Protocol):
    """Counters and events that processes share. No method blocks.

    Attributes:
        joined: Whether the store's counts are binding now. If not, each process uses at most its share of
            every limit.
        is_slow: Whether an answer is late, by at most 2 seconds, and the store may still count for other
            processes. Then this process may only use its allowance.
        patience: Seconds to wait for an answer before the store counts as unreachable.
        reporter: Supplies the counts of this process when the store is reachable again.
    """

    joined: bool
    is_slow: bool
    patience: float
    reporter: CountReporter | None

    @property
    def processes(self) -> int:
        """The number of processes that shared the store at its last answer, at least 1."""
        ...

    @property
    def away_since(self) -> float | None:
        """When the store became unreachable, by `time.monotonic`; None while it is reachable."""
        ...

    def reserve(
        self, name: str, limits: Sequence[SharedLimit], on_answer: Callable[[ReservationAnswer | None], None]
    ) -> None:
        """Reserve the amounts that ``limits`` ask for, all or none, in one atomic step.

        Args:
            name: The request's name, which no other request has in any process.
            limits: The limits that the request counts in.
            on_answer: Called from any thread with the answer; with None if the store is unreachable.
        """

    def queue_changes(self, changes: Sequence[CounterChange]) -> None:
        """Queue changes of counters. A reachable server receives them within 50 ms."""

    def release_slots(self, name: str, keys: Sequence[str], *, send_now: bool) -> None:
        """Release the slots that the request ``name`` holds in the limits ``keys``.

        This takes up to 50 ms. With ``send_now`` it is sent immediately, because another call may wait for the
        slot.
        """

    def publish(
        self, event: SharedEvent, *, merge: Callable[[SharedEvent, SharedEvent], SharedEvent] | None = None
    ) -> None:
        """Send ``event`` to all other processes.

        Without ``merge``, the event is sent immediately. With ``merge``, it waits at least 50 ms, and ``merge``
        combines it with waiting events of the same kind and subject.
        """

    def is_unreachable(self) -> bool:
        """Whether the store is unreachable, after a wait for its answer has timed out.

        False if this process itself was slow, so that the answer may still come.
        """
        ...

    def start(self) -> None:
        """Begin to receive events. Does nothing if already started."""

    def close(self) -> None:
        """Send everything that is queued, and disconnect this process from the others."""


class CountReporter(Protocol):
    """Supplies a process's counts to a store that is reachable again, and caches the allowances that it grants."""

    def list_unreported_changes(
        self, bucket_at_age: Callable[[SharedLimit, float], int], *, include_reported: bool
    ) -> Iterable[CounterChange]:
        """List the amounts that the store does not count; with ``include_reported``, all that this process counts.

        Args:
            bucket_at_age: Returns the part of a limit's window for an amount used that many seconds ago.
            include_reported: Whether the store has lost its data, so that reported amounts are needed, too.
        """
        ...

    def list_taken_slots(self) -> Iterable[tuple[SharedLimit, str]]:
        """List the slots that requests in flight hold in concurrency limits, each with the request's name."""
        ...

    def on_store_rejoin(self) -> None:
        """Forget the store's earlier answers. Called when the store's counts are binding again."""

    def list_limits_in_use(self) -> Sequence[tuple[SharedLimit, int]]:
        """List the limits used in the last minute, each with this process's allowance.

        The allowance is the amount that this process may use without the store's answer.
        """
        ...

    def set_allowances(self, limit_states: Sequence[tuple[SharedLimit, LimitState]]) -> None:
        """Cache the new allowances in ``limit_states``, for the limits that `list_limits_in_use` returned last."""
