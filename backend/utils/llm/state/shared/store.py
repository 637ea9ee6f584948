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


class Limit(NamedTuple):
    """One counter in the store that a request counts in, and the amount that the request asks for.

    Attributes:
        key: The counter's key in the store.
        kind: A ``window`` slides; a ``total`` is forgotten after ``seconds``; ``places``, for requests at once, are taken until released.
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
    def grain(self) -> float:
        """The length of one part of a window, in seconds."""
        return max(0.001, self.seconds / GRAINS)

    @property
    def length(self) -> float:
        """Seconds for which a grant counts."""
        return self.seconds * (1 + SLACK)

    @property
    def tolerance(self) -> float:
        """Seconds after which a grant is received late: a part of `SLACK`, as the way to the provider takes time, too."""
        return max(PROMPT_SECONDS, self.seconds * SLACK / 18)


class Room(NamedTuple):
    """The state of one limit.

    Attributes:
        left: The amount left.
        wait: Seconds until the amount asked for is free; 0 if it is free now, inf if unknown.
        bucket: The part of the window that the amount was taken from; needed to give some of it back.
        allowance: The amount newly set aside for the process to use while the store is silent; None if the earlier allowance
            holds, less what was taken of it because nothing else was left.
    """

    left: int
    wait: float = 0.0
    bucket: int = -1
    allowance: int | None = None


class Answer(NamedTuple):
    """The store's answer to a reservation: whether it was granted, and the state of each of its limits."""

    granted: bool
    rooms: tuple[Room, ...]


class Change(NamedTuple):
    """A change of a counter by ``amount``, in ``bucket`` if that part of the window still counts; -1 is the current one."""

    limit: Limit
    bucket: int
    amount: int


class Event(NamedTuple):
    """A message to all other processes.

    Attributes:
        kind: The kind of event, which decides who handles it.
        values: JSON-ready values. They hold no text of a user, and keys only as keyed hashes.
    """

    kind: str
    values: tuple[Any, ...]


class Heard(Protocol):
    """A callback that is passed the events of other processes."""

    def __call__(self, event: Event, age: float, /) -> None:
        """Handle ``event``, published ``age`` seconds ago. Called from any thread."""


class Store(Protocol):
    """Counters and events that processes share. No method blocks.

    Attributes:
        joined: Whether the store's counts are binding now; if not, each process keeps to its share of every limit.
        is_slow: Whether the store is silent, for at most 2 seconds, and may count for others: then only this process's
            allowance may be used.
        patience: Seconds to wait for an answer before the store counts as unreachable.
        reporter: Supplies the counts of this process, which the store takes over when it can be reached again.
    """

    joined: bool
    is_slow: bool
    patience: float
    reporter: Reporter | None

    @property
    def processes(self) -> int:
        """The number of processes at the last answer, at least 1."""
        ...

    @property
    def away_since(self) -> float | None:
        """When the store became unreachable, by `time.monotonic`; None while it is reachable."""
        ...

    def reserve(self, name: str, limits: Sequence[Limit], told: Callable[[Answer | None], None]) -> None:
        """Take all that ``limits`` ask for, or nothing, in one atomic step, and pass the answer to ``told``.

        Args:
            name: The request's name, which no other request has in any process.
            limits: The limits that the request counts in.
            told: Called from any thread with the answer; with None if the store is away.
        """

    def change(self, changes: Sequence[Change]) -> None:
        """Queue these counter changes; a reachable server has them within 50 ms."""

    def release(self, name: str, keys: Sequence[str], *, at_once: bool) -> None:
        """Release the places of the request ``name`` among those at once, under ``keys``.

        Within 50 ms, or ``at_once`` if another call may wait for the place.
        """

    def publish(self, event: Event, *, merge: Callable[[Event, Event], Event] | None = None) -> None:
        """Send ``event`` to all other processes: at once; or, if ``merge`` joins events of its kind, after at least 50 ms."""

    def late(self) -> bool:
        """Whether the store is away. Called after a vain wait: False if this process was slow, and the answer is coming."""
        ...

    def start(self) -> None:
        """Begin to receive events, unless already begun."""

    def close(self) -> None:
        """Send what is queued, and leave the other processes."""


class Reporter(Protocol):
    """The counts of a process that a store must learn when it is reachable again."""

    def changes(self, bucket_of: Callable[[Limit, float], int], *, everything: bool) -> Iterable[Change]:
        """The amounts used without the store's answer; or every amount, if the store has lost its data.

        Args:
            bucket_of: Gives the part of a limit's window that counts amounts of so many seconds ago.
            everything: Whether the store has lost its data.
        """
        ...

    def places(self) -> Iterable[tuple[Limit, str]]:
        """The places that requests in flight take in limits of requests at once, each with the request's name."""
        ...

    def rejoined(self) -> None:
        """Called when the store's counts are binding again: drop its earlier answers."""

    def in_use(self) -> Sequence[tuple[Limit, int]]:
        """The limits used in the last minute, each with the amount that the process may use without asking."""
        ...

    def allowed(self, rooms: Sequence[tuple[Limit, Room]]) -> None:
        """Take over the new allowances, which the store has set aside for the limits of the last `in_use`."""
