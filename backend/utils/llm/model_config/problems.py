"""What is wrong with a table: every finding, each with its path and a way out."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError

_KINDER = {
    "extra_forbidden": "unknown key",
    "missing": "is missing",
}
_FEW = 12


class Problems:
    """Collects findings while a table is read; the reader goes on after each.

    The same rule broken at the same path is one finding, however many features lead there.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], str] = {}

    @property
    def found(self) -> tuple[str, ...]:
        """Every finding, in the order in which they were met."""
        return tuple(self._found.values())

    def add(self, path: str, rule: str, *, value: object = None, layer: str = "", fix: str = "") -> None:
        """Note one finding: ``path = value (layer): rule. fix``."""
        shown = "" if value is None else f" = {value!r}"
        where = f" ({layer})" if layer else ""
        self._found.setdefault(
            (path, rule, shown), f"{path}{shown}{where}: {rule}.{' ' + fix if fix else ''}"
        )

    def add_validation(self, path: str, error: ValidationError, *, layer: str, known: Iterable[str]) -> None:
        """Note every finding of a row that does not fit its type."""
        for detail in error.errors(include_url=False, include_context=False):
            place = ".".join(filter(None, [path, *map(str, detail["loc"])]))
            kind, value = detail["type"], detail["input"]
            fix = did_you_mean(str(detail["loc"][-1]), known) if kind == "extra_forbidden" else ""
            showable = kind != "missing" and "base_url" not in detail["loc"]  # which may hold a password
            shown = value if showable and isinstance(value, str | int | float | bool) else None
            self.add(place, _KINDER.get(kind, _sentence(detail["msg"])), value=shown, layer=layer, fix=fix)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint at the nearest known words, or at all of them if they are few."""
    known = sorted(known)
    nearest = get_close_matches(word, known, n=2, cutoff=0.6)
    if nearest:
        return f"Did you mean {' or '.join(map(repr, nearest))}?"
    return f"Known: {', '.join(known)}." if known and len(known) <= _FEW else ""


def _sentence(message: str) -> str:
    return message[:1].lower() + message[1:]
