"""Stored overrides: a person's temporary changes of the table, a layer between the file and the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import override

from ..foreign import sanitize_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    OverrideSource = Callable[[], Iterable["Override"]]
    """Returns the stored overrides, the oldest first. It may block, and raises if they cannot be read."""

LAYER = "stored override"
"""The name of this configuration layer in the problems of a table."""


class Override(NamedTuple):
    """A person's temporary change of the table: other endpoints for a feature, or an endpoint disabled.

    Attributes:
        subject: The feature that gets other endpoints; or, without ``links``, the endpoint that is disabled.
        links: The endpoints and groups that serve the feature instead, as in the table; empty to disable.
        author: The person who made the override.
        reason: Why the person made it.
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
        return f"{what} {self.id} by {sanitize_text(self.author)} until {self._end}: {sanitize_text(self.reason)}"

    @property
    def public_summary(self) -> str:
        """The kind, id and end of the override, without author and reason, for error texts that anybody may see."""
        what = "override" if self.links else "disabled"
        return f"{what} {self.id} until {self._end}"

    @property
    def _end(self) -> str:
        return self.until.strftime("%Y-%m-%d %H:%M UTC")

    @property
    def problem_path(self) -> str:
        """The override's name in problem texts, such as ``override of chat``, as it has no path in the file."""
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
    """A stored override that is not in force because it does not fit the current table, with the reasons."""

    override: Override
    problems: tuple[str, ...]
