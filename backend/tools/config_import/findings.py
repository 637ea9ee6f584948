"""The report of an import: messages, each with the path of the value in the input that it is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from typing_extensions import override

from backend.utils.llm.secrets import KEY_LIKE, contains_likely_api_key

SECRET_LENGTH = 6
"""The shortest key that is masked in reports: shorter texts would mask half of the report."""

Kind = Literal["wrong", "carried", "guessed", "dropped", "changed", "todo"]

_ORDER = {"carried": 0, "wrong": 1}
_HIDDEN = "[hidden]"
_SHOWN = 80


@dataclass(frozen=True)
class ImportFinding:
    """One message of the import's report: what happened to one value of the input.

    Attributes:
        kind: ``wrong``: an error, not imported. ``carried``: is in the table. ``guessed``: was missing in the
            input, so a value was chosen. ``dropped``: is in the input, but not in the table. ``changed``:
            means something else in the table than in the input. ``todo``: must be done by hand.
        path: The path of the value in the input; empty for the whole input.
        says: The message, as a sentence.
    """

    kind: Kind
    path: str
    says: str

    @override
    def __str__(self) -> str:
        return f"{self.kind:<8} {self.path or '(all)'}: {self.says}"


class ImportReport:
    """Collects the messages of an import's report. Duplicates are dropped, and secrets are masked.

    Args:
        parent: The report to which all messages are added as well; None if this is the whole report.
    """

    def __init__(self, parent: ImportReport | None = None) -> None:
        self._whole = parent
        self._found: dict[ImportFinding, None] = {}
        self._secrets: set[str] = set()

    def make_subreport(self) -> ImportReport:
        """Make a report on a part of the input, which tells whether that part has errors.

        Its messages are added to this report as well.
        """
        return ImportReport(self)

    def add_finding(self, kind: Kind, path: str, message: str) -> None:
        """Add a message about the value at ``path`` in the input."""
        self._found.setdefault(ImportFinding(kind, path, message))
        if self._whole is not None:
            self._whole.add_finding(kind, path, message)

    def mask_secret(self, secret: str) -> None:
        """Mask ``secret`` in all messages of the report, including messages that were added before."""
        if len(secret) >= SECRET_LENGTH:
            self._secrets.add(secret)
        if self._whole is not None:
            self._whole.mask_secret(secret)

    @property
    def has_errors(self) -> bool:
        """Whether the report has an error: something that could not be imported."""
        return any(finding.kind == "wrong" for finding in self._found)

    @property
    def is_subreport_with_errors(self) -> bool:
        """Whether this is a report on a part of the input, and has errors. Always false for the whole report."""
        return self._whole is not None and self.has_errors

    @property
    def sorted_findings(self) -> tuple[ImportFinding, ...]:
        """All messages with secrets masked: imported values first, then errors, then the others in input order."""
        found = sorted(self._found, key=lambda finding: _ORDER.get(finding.kind, len(_ORDER)))
        return tuple(
            ImportFinding(finding.kind, self._concealed(finding.path), self._concealed(finding.says))
            for finding in found
        )

    def _concealed(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, _HIDDEN)
        return KEY_LIKE.sub(_HIDDEN, text).encode("ascii", "backslashreplace").decode()


def looks_like_api_key(text: str) -> bool:
    """Whether ``text`` contains something that looks like an API key."""
    return contains_likely_api_key(text)


def quote_for_report(text: str) -> str:
    """Quote a text from the input for the report: escaped to one line of ASCII, and cut to a limited length."""
    return ascii(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
