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
class InputNode:
    """A value of the imported configuration with its path, so that a message about the value can say where it is.

    Instances are immutable.

    Attributes:
        value: The parsed value.
        path: The path of the value in the input.
        findings: The report that gets the messages about the value.
    """

    value: object = field(repr=False)
    path: str
    findings: ImportReport = field(repr=False, compare=False)

    def report(self, kind: Kind, says: str) -> None:
        """Add a message about this value to the import's report."""
        self.findings.add_finding(kind, self.path, says)

    def with_own_report(self) -> InputNode:
        """Return the same value with a report of its own, which can tell later whether this value had errors.

        The messages are added to the original report as well.
        """
        return InputNode(self.value, self.path, self.findings.make_subreport())

    @property
    def is_mapping(self) -> bool:
        """Whether the value is a mapping."""
        return isinstance(self.value, Mapping)

    def entries(self) -> dict[str, InputNode]:
        """Get the entries of a mapping, each with its path. Empty, with an error in the report, if the value is no mapping.

        The dict is a copy. A caller removes the entries that it has read, and reports those that remain.
        """
        if not isinstance(self.value, Mapping):
            self.report("wrong", f"must be a mapping, and is {_kind(self.value)}.")
            return {}
        for key in self.value:
            if not isinstance(key, str):
                self.report("wrong", f"holds a key that is {_kind(key)}; keys are text.")
        return {key: self._below(key, value) for key, value in self.value.items() if isinstance(key, str)}

    def elements(self) -> tuple[InputNode, ...]:
        """Get the elements of a list, each with its path. Empty, with an error in the report, if the value is no list."""
        if not isinstance(self.value, list | tuple):
            self.report("wrong", f"must be a list, and is {_kind(self.value)}.")
            return ()
        return tuple(self._below(str(at), value) for at, value in enumerate(self.value))

    def text(self) -> str | None:
        """Get the text without white space around it. None, with an error in the report, if the value is no text."""
        if isinstance(self.value, str):
            return self.value.strip()
        self.report("wrong", f"must be text, and is {_kind(self.value)}.")
        return None

    def _below(self, key: str, value: object) -> InputNode:
        step = key if _PLAIN.fullmatch(key) else quote_for_report(key)
        return InputNode(value, f"{self.path}.{step}" if self.path else step, self.findings)


def none_if_null(node: InputNode | None) -> InputNode | None:
    """Return None for a node with a null value, else ``node``.

    So an absent setting and a setting that is null are treated alike.
    """
    return None if node is None or node.value is None else node


def _kind(value: object) -> str:
    kinds = ((bool, "true or false"), (int | float, "a number"), (str, "text"), (Mapping, "a mapping"))
    if value is None:
        return "null"
    if isinstance(value, UnknownValue):
        return "known only when the code runs"
    return next((name for kind, name in kinds if isinstance(value, kind)), f"a {type(value).__name__}")
