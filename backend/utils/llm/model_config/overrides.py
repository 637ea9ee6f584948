"""Stored overrides: a person's temporary changes of the table, a layer between the file and the environment."""

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
"""The name of the layer in problems."""


class Override(NamedTuple):
    """A person's temporary change of the table.

    Attributes:
        id: The id of the override.
        subject: The feature that ``links`` serve; or, without links, the endpoint that is disabled in every chain.
        links: Endpoints and groups, as in the table.
        author: The person who made it, and ``reason`` their reason.
        since: When it was made, timezone-aware.
        until: When it expires, timezone-aware.
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
        """The override on one line, for people."""
        what = "override" if self.links else "disabled"
        return f"{what} {self.id} by {label(self.author)} until {self._end}: {label(self.reason)}"

    @property
    def without_words(self) -> str:
        """The override in one phrase, without its author and reason, for errors that everybody may see."""
        what = "override" if self.links else "disabled"
        return f"{what} {self.id} until {self._end}"

    @property
    def _end(self) -> str:
        return self.until.strftime("%Y-%m-%d %H:%M UTC")

    @property
    def path(self) -> str:
        """The path of the override in problems, as if it were in a table."""
        return f"override of {self.subject}" if self.links else f"disabled {self.subject}"

    def as_dict(self) -> dict[str, Any]:
        """The override as a JSON-ready dictionary."""
        return {
            **self._asdict(),
            "links": list(self.links),
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
        }


class IgnoredOverride(NamedTuple):
    """An override that is not in force because it does not fit the current table."""

    override: Override
    problems: tuple[str, ...]
