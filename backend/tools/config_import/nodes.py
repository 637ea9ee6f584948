"""A value of the imported configuration with its path, which reports an error if it is invalid."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backend.tools.config_import.findings import quote_for_report

if TYPE_CHECKING:
    from backend.tools.config_import.findings import ImportReport, Kind

_PLAIN = re.compile(r"[\w./:@-]{1,60}", re.ASCII)


@dataclass(frozen=True)
class UnknownValue:
    """Stands for a value of the scanned code that is known only at run time.

    Attributes:
        name: The dotted name of the value, such as ``settings.model``; empty if it has none.
    """

    name: str = ""


@dataclass(frozen=True)
class ConfigNode:
    """A value of the imported configuration with its path, so that a message can say where the value is.

    Attributes:
        value: The parsed value.
        path: The path of the value in the input.
        findings: The report that gets the messages about the value.
    """

    value: object = field(repr=False)
    path: str
    findings: ImportReport = field(repr=False, compare=False)

    def report_finding(self, kind: Kind, message: str) -> None:
        """Add a message about this value to the import's report."""
        self.findings.add_finding(kind, self.path, message)

    def with_subreport(self) -> ConfigNode:
        """Return the same value with a subreport, which later tells whether this value had errors.

        The messages are added to the original report as well.
        """
        return ConfigNode(self.value, self.path, self.findings.make_subreport())

    @property
    def is_mapping(self) -> bool:
        """Whether the value is a mapping."""
        return isinstance(self.value, Mapping)

    def read_entries(self) -> dict[str, ConfigNode]:
        """Read a mapping's entries, each with its path. Empty, with an error in the report, if this is no mapping.

        The dict is a copy. Callers remove the entries that they have read, and report the remaining entries.
        """
        if not isinstance(self.value, Mapping):
            self.report_finding("wrong", f"must be a mapping, and is {_kind(self.value)}.")
            return {}
        for key in self.value:
            if not isinstance(key, str):
                self.report_finding("wrong", f"holds a key that is {_kind(key)}; keys are text.")
        return {key: self._below(key, value) for key, value in self.value.items() if isinstance(key, str)}

    def read_elements(self) -> tuple[ConfigNode, ...]:
        """Read a list's elements, each with its path. Empty, with an error in the report, if this is no list."""
        if not isinstance(self.value, list | tuple):
            self.report_finding("wrong", f"must be a list, and is {_kind(self.value)}.")
            return ()
        return tuple(self._below(str(at), value) for at, value in enumerate(self.value))

    def read_text(self) -> str | None:
        """Read the text, stripped of white space. None, with an error in the report, if the value is no text."""
        if isinstance(self.value, str):
            return self.value.strip()
        self.report_finding("wrong", f"must be text, and is {_kind(self.value)}.")
        return None

    def _below(self, key: str, value: object) -> ConfigNode:
        step = key if _PLAIN.fullmatch(key) else quote_for_report(key)
        return ConfigNode(value, f"{self.path}.{step}" if self.path else step, self.findings)


def none_if_null(node: ConfigNode | None) -> ConfigNode | None:
    """Return None for a node whose value is null, else ``node``: a null setting counts as absent."""
    return None if node is None or node.value is None else node


def _kind(value: object) -> str:
    kinds = ((bool, "true or false"), (int | float, "a number"), (str, "text"), (Mapping, "a mapping"))
    if value is None:
        return "null"
    if isinstance(value, UnknownValue):
        return "known only when the code runs"
    return next((name for kind, name in kinds if isinstance(value, kind)), f"a {type(value).__name__}")
