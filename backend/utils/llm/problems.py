"""Problems of a table: every finding, each with its path and a fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticCustomError

from .nearest import find_similar_words
from .secrets import KEY_LIKE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic import ValidationError

_KINDER = {
    "dict_type": "must be a table",
    "extra_forbidden": "unknown key",
    "missing": "is missing",
    "model_attributes_type": "must be a table",
    "model_type": "must be a table",
    "tuple_type": "must be a list",
}
_REMOVED = {
    "n": "A call has one answer: call again, or use batch, for another.",
    "client": "It was removed: every request goes past the SDK. Take the line out.",
}
"""Keys of earlier versions, and what there is none of."""
_FEW = 12
_LONGEST = 200
"""Characters of a value that are shown: it stands there to be found again."""
Loc = tuple[int | str, ...]
"""The path of a value in its row, as pydantic gives it: keys, and indexes of lists."""


class TableProblems:
    """Collects the problems of a table while it is read, so that one error can report all of them.

    A rule that is broken at one path of the table is reported once, however many features use that path.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], str] = {}

    @property
    def messages(self) -> tuple[str, ...]:
        """The texts of all problems so far, for people, in the order in which they were added."""
        return tuple(self._found.values())

    def add(self, path: str, rule: str, *, value: object = None, layer: str = "", fix: str = "") -> None:
        """Add a problem, with the text ``path = value (layer): rule. fix``."""
        shown = "" if value is None else f" = {_cut(KEY_LIKE.sub('[hidden]', repr(value)))}"
        where = f" ({layer})" if layer else ""
        self._found.setdefault(
            (path, rule, shown), f"{path}{shown}{where}: {rule}.{' ' + fix if fix else ''}"
        )

    def add_validation_error(
        self,
        error: ValidationError,
        *,
        layer: str,
        find_path: Callable[[Loc], str],
        find_valid_keys: Callable[[Loc], Iterable[str]],
    ) -> None:
        """Add each problem of a row that fails the validation by its pydantic model.

        Args:
            error: The validation error.
            layer: The configuration layer that the row comes from.
            find_path: Returns the path in the table of a value of the row.
            find_valid_keys: Returns the valid keys at the place of an unknown key.
        """
        for detail in error.errors(include_url=False):
            loc, kind, value, context = detail["loc"], detail["type"], detail["input"], detail.get("ctx", {})
            fix = context.get("fix", "")
            if kind == "extra_forbidden":
                fix = _REMOVED.get(str(loc[-1])) or did_you_mean(str(loc[-1]), find_valid_keys(loc))
            showable = kind != "missing" and "base_url" not in loc  # which may hold a password
            shown = value if showable and isinstance(value, str | int | float | bool) else None
            self.add(find_path(loc), _rule(detail["msg"], kind, context), value=shown, layer=layer, fix=fix)


def make_rule_error(rule: str, fix: str = "") -> PydanticCustomError:
    """Make the error for a pydantic validator to raise: the ``rule`` that a value breaks, and a ``fix``, if any."""
    return PydanticCustomError("broken", "{rule}", {"rule": rule, "fix": fix})


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Make a hint for an error message: the ``known`` words nearest to ``word``, or all if they are few.

    Empty if no word is near and there are many.
    """
    known = sorted(known)
    if near := find_similar_words(word, known, limit=2):
        return f"Did you mean {' or '.join(map(repr, near))}?"
    return f"Known: {', '.join(known)}." if known and len(known) <= _FEW else ""


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _rule(message: str, kind: str, context: dict[str, Any]) -> str:
    if kind == "too_short":
        return f"must hold at least {context['min_length']}"
    if kind == "value_error":
        return str(context["error"])
    return _KINDER.get(kind, message[:1].lower() + message[1:])
