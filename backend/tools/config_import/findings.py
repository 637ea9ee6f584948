"""The findings of an import, each with the place in the input that it is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from typing_extensions import override

from backend.utils.llm.secrets import KEY_LIKE, looks_like_key

SECRET_LENGTH = 6
"""What is shorter is no key: hiding it would hide half the report."""

Kind = Literal["wrong", "carried", "guessed", "dropped", "changed", "todo"]

_ORDER = {"carried": 0, "wrong": 1}
_HIDDEN = "[hidden]"
_SHOWN = 80


@dataclass(frozen=True)
class Finding:
    """One thing that a person should know.

    Attributes:
        kind: ``wrong`` could not be imported. ``carried`` is in the table; ``guessed`` was not said and had to be chosen;
            ``dropped`` is in the input and not in the table; ``changed`` means something else here than there;
            ``todo`` is left to do.
        path: Where it stands in the input; empty for the input as a whole.
        says: What happened to it, as a sentence.
    """

    kind: Kind
    path: str
    says: str

    @override
    def __str__(self) -> str:
        return f"{self.kind:<8} {self.path or '(all)'}: {self.says}"


class Findings:
    """Collects findings while the input is read; the reader goes on after each. A finding made twice is one.

    Args:
        whole: What these findings are a part of, which has them, too.
    """

    def __init__(self, whole: Findings | None = None) -> None:
        self._whole = whole
        self._found: dict[Finding, None] = {}
        self._secrets: set[str] = set()

    def part(self) -> Findings:
        """Findings about one part of the input, that tell whether anything is wrong with that part."""
        return Findings(self)

    def add(self, kind: Kind, path: str, says: str) -> None:
        """Note one finding."""
        self._found.setdefault(Finding(kind, path, says))
        if self._whole is not None:
            self._whole.add(kind, path, says)

    def hide(self, secret: str) -> None:
        """Let ``secret`` appear in no finding, whichever was made before or is made after."""
        if len(secret) >= SECRET_LENGTH:
            self._secrets.add(secret)
        if self._whole is not None:
            self._whole.hide(secret)

    @property
    def any_wrong(self) -> bool:
        """Whether there is anything that could not be imported."""
        return any(finding.kind == "wrong" for finding in self._found)

    @property
    def is_spoilt_part(self) -> bool:
        """Whether these are about one part, and something is wrong with it."""
        return self._whole is not None and self.any_wrong

    @property
    def all(self) -> tuple[Finding, ...]:
        """Every finding: rows of the table, then what is wrong, otherwise in the order in which they were met."""
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
    """Whether something in ``text`` is spelt as keys are."""
    return looks_like_key(text)


def shown(text: str) -> str:
    """A name from the input as a line of the report can hold it: quoted, on one line, not endless."""
    return ascii(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
