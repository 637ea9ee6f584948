"""Aliases of endpoints: ``alias:NAME`` may be written wherever an endpoint is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ..problems import did_you_mean
from .overrides import LAYER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..problems import TableProblems
    from .overrides import Override

SECTION: Final = "aliases"
PREFIX: Final = "alias:"
_WRITTEN: Final = re.compile(r"(?<![^\s,])alias:([^\s,]*)")
"""In a variable, where several endpoints may stand with commas between them."""


class AliasResolver:
    """Reads the section ``[aliases]`` of a table document, and replaces aliases by endpoints.

    Args:
        document: The parsed document, with its section of aliases.
        layer: The configuration layer of the document, as problems name it.
        problems: Collects what is wrong with the aliases.

    Attributes:
        names: Each alias as written, such as ``alias:fast``, with its endpoint.
        document: The document without that section, and with aliases replaced by endpoints.
    """

    def __init__(self, document: Mapping[str, Any], layer: str, problems: TableProblems) -> None:
        self._layer = layer
        self._problems = problems
        self.names: dict[str, str] = {}
        rows = document.get(SECTION, {})
        if not isinstance(rows, dict):
            problems.add(SECTION, "must be a section", value=rows, layer=layer, fix="Write [aliases].")
            rows = {}
        for name, endpoint in rows.items():
            if not isinstance(endpoint, str) or endpoint.startswith(("group:", PREFIX)):
                rule = "an alias stands for one endpoint, written provider:model"
                problems.add(f"{SECTION}.{name}", rule, value=endpoint, layer=layer)
            else:
                self.names[PREFIX + name] = endpoint
        self.document = {key: self._replaced(value, key) for key, value in document.items() if key != SECTION}

    def resolve_environment(self, environ: Mapping[str, str], prefix: str) -> dict[str, str]:
        """Return a copy of ``environ`` with aliases replaced by endpoints, in variables that begin with ``prefix``."""

        def replaced(variable: str, value: str) -> str:
            return _WRITTEN.sub(lambda found: self._endpoint(found[0], variable, "environment"), value)

        return {
            name: replaced(name, value) if name.startswith(prefix) else value
            for name, value in environ.items()
        }

    def resolve_override(self, stored_override: Override) -> Override:
        """Return a copy of ``stored_override`` with aliases replaced by endpoints."""
        links = tuple(
            self._endpoint(link, stored_override.problem_path, LAYER) for link in stored_override.links
        )
        subject = (
            stored_override.subject
            if links
            else self._endpoint(stored_override.subject, stored_override.problem_path, LAYER)
        )
        return stored_override._replace(subject=subject, links=links)

    def _replaced(self, value: Any, path: str) -> Any:
        if isinstance(value, str):
            return self._endpoint(value, path, self._layer)
        if isinstance(value, list):
            return [self._replaced(item, f"{path}.{number}") for number, item in enumerate(value)]
        if isinstance(value, dict):
            return {
                self._endpoint(key, path, self._layer): self._replaced(item, f"{path}.{key}")
                for key, item in value.items()
            }
        return value

    def _endpoint(self, written: str, path: str, layer: str) -> str:
        if not written.startswith(PREFIX):
            return written
        if written not in self.names:
            fix = did_you_mean(written, self.names)
            self._problems.add(path, "there is no such alias", value=written, layer=layer, fix=fix)
        return self.names.get(written, written)
