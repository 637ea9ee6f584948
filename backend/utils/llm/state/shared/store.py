"""What a store of shared state does: it counts for limits, tells who is there, and passes events on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

LEASE_SECONDS = 15.0
"""After which a place under ``concurrency`` is free again whose process has not said that it still needs it."""
RENEW_SECONDS = LEASE_SECONDS / 3
GRAINS = 600
"""Parts of a window. What goes out in one part counts until the window is over for all of it."""
SLACK = 0.015
"""Of a window's length: so much longer does a grant count, because processes take differently long to send what they may."""
PROMPT_SECONDS = 0.005
"""Nobody who hears of a grant so soon is late."""

ALLOWED_SECONDS = 2.0
"""How long a process may let out what was set aside for it, from when it asked."""
KEPT_ASIDE_SECONDS = 4.0
"""How long that is kept from others: until the process has told what it has let out, also if it is late."""
PART = 2
"""All processes together have half of what is left set aside for them, at most; a process no less than one, if there is one for
each."""
LOOK_SECONDS = 0.25
"""When to ask again for what is left, but set aside for others."""

Kind = Literal["window", "total", "places"]


class Limit(NamedTuple):
    """One counter that a request counts for.

    Attributes:
        key: What it is called in the store.
        kind: A ``window`` slides; a ``total`` is forgotten after ``seconds``; ``places`` are taken until they are given back.
        ask: How much the request needs.
        most: How much there is for all processes together.
        seconds: The window's length; for a total, how long it is kept.
    """

    key: str
    kind: Kind
    ask: int
    most: int
    seconds: float = LEASE_SECONDS

    @property
    def grain(self) -> float:
        """Seconds of one part of a window."""
        return max(0.001, self.seconds / GRAINS)

    @property
    def length(self) -> float:
        """Seconds for which a grant counts."""
        return self.seconds * (1 + SLACK)

    @property
    def tolerance(self) -> float:
        """Seconds after which it is late to hear of a grant: a part of what `SLACK` is for, as the way to the provider takes time, too."""
        return max(PROMPT_SECONDS, self.seconds * SLACK / 18)


class Room(NamedTuple):
    """What one limit says.

    Attributes:
        left: How much is left.
        wait: Seconds until as much as was asked for is free; 0 if it is, infinite if nobody knows.
        bucket: The part of the window from which it was taken; to be named when some of it is given back.
        allowance: How much was just set aside for the process, to be let out without a word if the store is silent; None if that
            is as before, less what was taken of it because nothing else was left.
    """

    left: int
    wait: float = 0.0
    bucket: int = -1
    allowance: int | None = None


class Answer(NamedTuple):
    """Whether a request may go out, and what each of its limits says then."""

    granted: bool
    rooms: tuple[Room, ...]


class Change(NamedTuple):
    """So much more, or less, counts in ``limit``: in ``bucket`` if that still counts; -1 is what is now."""

    limit: Limit
    bucket: int
    amount: int


class Event(NamedTuple):
    """Something that other processes want to know.

    Attributes:
        kind: Whom it is for.
        values: JSON-ready. Nothing that a user said, and no key, but by its keyed hash.
    """

    kind: str
    values: tuple[Any, ...]


class Heard(Protocol):
    """Takes events of other processes, each with its age in seconds."""

    def __call__(self, event: Event, age: float, /) -> None:
        """Called from any thread."""


class Store(Protocol):
    """Counters and events that processes share. No method waits.

    Attributes:
        joined: Whether the counts of the store are binding now; else each process keeps to its own share of every limit.
        processes: How many processes were there when that was last heard, at least 1.
        away_since: Since when it cannot be reached, by `time.monotonic`; None if it can be.
        is_slow: Whether it is silent, for a second or two at most, and may be counting for others: then only what it has set aside for
            this process may go out.
        patience: Seconds to wait for an answer before the store counts as unreachable.
        reporter: Supplies the counts of this process, which the store takes over when it can be reached again.
    """

    joined: bool
    is_slow: bool
    patience: float
    reporter: Reporter | None

    @property
    def processes(self) -> int:
        """See the class."""
        ...

    @property
    def away_since(self) -> float | None:
        """See the class."""
        ...

    def reserve(self, name: str, limits: Sequence[Limit], told: Callable[[Answer | None], None]) -> None:
        """Take all that ``limits`` ask for, or nothing, in one step; and tell the answer, from any thread. None if it is away.

        Args:
            name: The request's, which no other one has in any process.
            limits: What it counts for.
            told: Takes the answer.
        """

    def change(self, changes: Sequence[Change]) -> None:
        """Count these, soon."""

    def release(self, name: str, keys: Sequence[str], *, at_once: bool) -> None:
        """Give back the places under ``keys`` that the request ``name`` has, soon; or at once, if somebody may wait for them."""

    def publish(self, event: Event, *, merge: Callable[[Event, Event], Event] | None = None) -> None:
        """Tell all other processes, at once; or soon and joined with others of its kind by ``merge``, if that is given."""

    def late(self) -> bool:
        """Whether it is away: who asks has waited in vain. Else it was this process that was slow, and the answer comes."""
        ...

    def start(self) -> None:
        """Hear of others, if it does not yet."""

    def close(self) -> None:
        """Tell what is to be told, and leave."""


class Reporter(Protocol):
    """What a process knows that a store has to hear when it is back."""

    def changes(self, bucket_of: Callable[[Limit, float], int], *, everything: bool) -> Iterable[Change]:
        """What was let out and is not counted there: without its word; or everything, if the store has lost what it had.

        Args:
            bucket_of: The part of a window at so many seconds ago.
            everything: Whether it knows nothing any more.
        """
        ...

    def places(self) -> Iterable[tuple[Limit, str]]:
        """The places that are taken now, each with its request's name."""
        ...

    def rejoined(self) -> None:
        """Its word counts again: what it said before is old."""

    def in_use(self) -> Sequence[tuple[Limit, int]]:
        """The limits for which requests were sent lately, each with what may go out under it without a word."""
        ...

    def allowed(self, rooms: Sequence[tuple[Limit, Room]]) -> None:
        """What is set aside from now on, as answered to the last `in_use`."""
