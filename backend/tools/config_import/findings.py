"""The findings of an import, each with the place in the input that it is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from typing_extensions import override

from backend.utils.llm.secrets import KEY_LIKE, looks_like_key

SECRET_LENGTH = 6
"""The shortest key that is masked in reports: shorter texts would mask half of the report."""

Kind = Literal["wrong", "carried", "guessed", "dropped", "changed", "todo"]

_ORDER = {"carried": 0, "wrong": 1}
_HIDDEN = "[hidden]"
_SHOWN = 80


@dataclass(frozen=True)
class Finding:
    """One message of the import's report: what happened to one value of the input.

    Attributes:
        kind: ``wrong`` could not be imported. ``carried`` is in the table; ``guessed`` was missing in the input and had to be
            chosen; ``dropped`` is in the input and not in the table; ``changed`` has another meaning here than in the input;
            ``todo`` is left to do.
        path: The place in the input; empty for the input as a whole.
        says: The message, as a sentence.
    """

    kind: Kind
    path: str
    says: str

    @override
    def __str__(self) -> str:
        return f"{self.kind:<8} {self.path or '(all)'}: {self.says}"


class Findings:
    """Collects the messages of an import's report while the input is read. Duplicates are dropped, secrets are masked.

    Args:
        whole: The collection that also gets every message added here; None for the collection of the whole input.
    """

    def __init__(self, whole: Findings | None = None) -> None:
        self._whole = whole
        self._found: dict[Finding, None] = {}
        self._secrets: set[str] = set()

    def part(self) -> Findings:
        """A new collection for a part of the input, which also tells whether that part has errors.

        Its messages are added to this collection, too.
        """
        return Findings(self)

    def add(self, kind: Kind, path: str, says: str) -> None:
        """Add a message about the value at ``path`` in the input."""
        self._found.setdefault(Finding(kind, path, says))
        if self._whole is not None:
            self._whole.add(kind, path, says)

    def hide(self, secret: str) -> None:
        """Mask ``secret`` in all findings, earlier and later ones."""
        if len(secret) >= SECRET_LENGTH:
            self._secrets.add(secret)
        if self._whole is not None:
            self._whole.hide(secret)

    @property
    def any_wrong(self) -> bool:
        """Whether there is an error, so that something could not be imported."""
        return any(finding.kind == "wrong" for finding in self._found)

    @property
    def is_spoilt_part(self) -> bool:
        """Whether this collection was made by `part`, and its part of the input has errors. False for the whole input."""
        return self._whole is not None and self.any_wrong

    @property
    def all(self) -> tuple[Finding, ...]:
        """Every finding: rows of the table, then errors, otherwise in the order of the input."""
        found = sorted(self._found, key=lambda finding: _ORDER.get(finding.kind, len(_ORDER)))
        return tuple(
            Finding(finding.kind, self._concealed(finding.path), self._concealed(finding.says))
            for finding in found
        )

    def _concealed(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, _HIDDEN)
        return KEY_LIKE.sub(_HIDDEN, text).encode("ascii", "backslashreplace").decode()


def looks_secret(text: str) -> bool:
    """Whether ``text`` contains something in the form of a key."""
    return looks_like_key(text)


def shown(text: str) -> str:
    """Make a name from the input safe to print in the report: quoted, on one line, of limited length."""
    return ascii(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
