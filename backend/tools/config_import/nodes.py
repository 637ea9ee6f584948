"""A value of the input with its path, which reports a finding when it is invalid."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backend.tools.config_import.findings import shown

if TYPE_CHECKING:
    from backend.tools.config_import.findings import Findings, Kind

_PLAIN = re.compile(r"[\w./:@-]{1,60}", re.ASCII)


@dataclass(frozen=True)
class Unknown:
    """A value that is known only at run time.

    Attributes:
        name: The dotted name of the value, such as ``settings.model``; empty if it has none.
    """

    name: str = ""


@dataclass(frozen=True)
class Node:
    """One value of the input with its path, so that messages about the value can say where it is. Immutable.

    Attributes:
        findings: Where messages about the value are collected.
    """

    value: object = field(repr=False)
    path: str
    findings: Findings = field(repr=False, compare=False)

    def report(self, kind: Kind, says: str) -> None:
        """Add a message about this value to the report."""
        self.findings.add(kind, self.path, says)

    def apart(self) -> Node:
        """The same value with a `Findings` of its own, which tells later whether this value had errors.

        The messages are also added to the original `Findings`.
        """
        return Node(self.value, self.path, self.findings.part())

    @property
    def is_mapping(self) -> bool:
        """Whether the value is a mapping."""
        return isinstance(self.value, Mapping)

    def entries(self) -> dict[str, Node]:
        """The entries of a mapping, each with its path. Empty, with an error in the report, if the value is no mapping.

        The dict is new: a reader removes the entries that it has read, to report the rest.
        """
        if not isinstance(self.value, Mapping):
            self.report("wrong", f"must be a mapping, and is {_kind(self.value)}.")
            return {}
        for key in self.value:
            if not isinstance(key, str):
                self.report("wrong", f"holds a key that is {_kind(key)}; keys are text.")
        return {key: self._below(key, value) for key, value in self.value.items() if isinstance(key, str)}

    def elements(self) -> tuple[Node, ...]:
        """The elements of a list, each with its path. Empty, with an error in the report, if the value is no list."""
        if not isinstance(self.value, list | tuple):
            self.report("wrong", f"must be a list, and is {_kind(self.value)}.")
            return ()
        return tuple(self._below(str(at), value) for at, value in enumerate(self.value))

    def text(self) -> str | None:
        """The text without surrounding white space. None, with an error in the report, if the value is no text."""
        if isinstance(self.value, str):
            return self.value.strip()
        self.report("wrong", f"must be text, and is {_kind(self.value)}.")
        return None

    def _below(self, key: str, value: object) -> Node:
        step = key if _PLAIN.fullmatch(key) else shown(key)
        return Node(value, f"{self.path}.{step}" if self.path else step, self.findings)


def unless_null(node: Node | None) -> Node | None:
    """None if ``node`` is None or holds null, else ``node``. An absent and a null setting usually mean the same."""
    return None if node is None or node.value is None else node


def _kind(value: object) -> str:
    kinds = ((bool, "true or false"), (int | float, "a number"), (str, "text"), (Mapping, "a mapping"))
    if value is None:
        return "null"
    if isinstance(value, Unknown):
        return "known only when the code runs"
    return next((name for kind, name in kinds if isinstance(value, kind)), f"a {type(value).__name__}")
