"""Overrides: what a person laid over the table for a while, between the file and the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import override

from ..foreign import label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    OverrideSource = Callable[[], Iterable["Override"]]
    """Tells the overrides that are stored, the oldest first. It may block, and may raise if they cannot be had."""

LAYER = "stored override"
"""What problems call the layer."""


class Override(NamedTuple):
    """A change of the table by a person, for a while.

    Attributes:
        id: Names it.
        subject: The feature that ``links`` serve; or, if there are none, the endpoint that is taken out of every chain.
        links: Endpoints and groups, as in the table.
        author: Who decided, and ``reason`` why.
        since: When, timezone-aware.
        until: From when on it does not hold any more.
    """

    id: str
    subject: str
    links: tuple[str, ...]
    author: str
    reason: str
    since: datetime
    until: datetime

    @override
    def __str__(self) -> str:
        """For people, on one line."""
        what = "override" if self.links else "disabled"
        return f"{what} {self.id} by {label(self.author)} until {self._end}: {label(self.reason)}"

    @property
    def without_words(self) -> str:
        """The override in one phrase, without its author and reason, for errors that anybody may see."""
        what = "override" if self.links else "disabled"
        return f"{what} {self.id} until {self._end}"

    @property
    def _end(self) -> str:
        return self.until.strftime("%Y-%m-%d %H:%M UTC")

    @property
    def path(self) -> str:
        """The place that problems name, as if the override stood in a table."""
        return f"override of {self.subject}" if self.links else f"disabled {self.subject}"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            **self._asdict(),
            "links": list(self.links),
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
        }


class IgnoredOverride(NamedTuple):
    """An override that is not in force because it does not fit the table as that is now."""

    override: Override
    problems: tuple[str, ...]
